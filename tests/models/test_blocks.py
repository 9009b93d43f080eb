"""Blocks against references written from their formulas in numpy, and what padding may not change."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.models import blocks


def perturbed(module, *args, seed=0, **kwargs):
    """Parameters with nothing trivially zero, one or identical."""
    params = nn.unbox(module.init(jax.random.key(seed), *args, **kwargs))["params"]
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    return tree.unflatten([leaf + rng.normal(0, 0.2, leaf.shape).astype(np.float32) for leaf in leaves])


def image(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def grouped(x, kernel):
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel[:, :, None], (1, 1), "SAME", dimension_numbers=dimensions, feature_group_count=x.shape[-1]
    )


def test_depthwise_is_the_grouped_convolution_and_so_is_its_gradient():
    x, kernel, direction = image(2, 7, 9, 5), image(3, 3, 5, seed=1), image(2, 7, 9, 5, seed=2)
    ours, backward = jax.vjp(blocks.depthwise3x3, x, kernel)
    theirs, expected = jax.vjp(grouped, x, kernel)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for one, other in zip(backward(direction), expected(direction), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_the_taps_of_the_depthwise_kernel_are_the_same_at_once_as_in_turn():
    padded, gradient = image(2, 9, 11, 5), image(2, 7, 9, 5, seed=2)
    np.testing.assert_allclose(blocks.taps_at_once(padded, gradient), blocks.taps_by_rows(padded, gradient), atol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_shuffle_inverts_unshuffle(factor):
    x = image(2, 8, 12, 3)
    np.testing.assert_array_equal(blocks.shuffle(blocks.unshuffle(x, factor), factor), x)


def test_unshuffle_puts_the_top_left_pixel_first():
    x = image(1, 4, 6, 3)
    np.testing.assert_array_equal(blocks.unshuffle(x, 2)[0, :, :, :3], x[0, ::2, ::2])


def mdta_reference(x, params, heads):
    """Restormer's equations with explicit q, k and v over pixels, in float64."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, -1, channels).astype(np.float64)
    query, key, value = (np.einsum("bnc,chd->bnhd", x, params[name]) for name in ("query", "key", "value"))
    query = query / np.sqrt((query**2).sum(1, keepdims=True))
    key = key / np.sqrt((key**2).sum(1, keepdims=True))
    logits = np.einsum("bnhc,bnhd->bhcd", query, key) * params["temperature"][:, None, None]
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    attended = np.einsum("bhcd,bnhd->bnhc", weights, value)
    return np.einsum("bnhc,hco->bno", attended, params["out"]).reshape(batch, height, width, channels)


def test_gram_attention_is_channel_attention():
    x = image(2, 6, 5, 12)
    module = blocks.GramAttention(heads=3)
    params = perturbed(module, x)
    np.testing.assert_allclose(module.apply({"params": params}, x), mdta_reference(x, params, 3), atol=2e-5)


def test_restormer_attention_against_the_same_reference():
    x = image(2, 6, 5, 12)
    module = blocks.ChannelAttention(heads=3)
    params = perturbed(module, x)
    params["depthwise"]["kernel"] = jnp.zeros((3, 3, 36)).at[1, 1].set(1.0)  # then it is MDTA without convolution
    split = params["qkv"]["kernel"].reshape(12, 3, 3, 4)
    reference = dict(zip(("query", "key", "value"), np.moveaxis(np.asarray(split), 1, 0), strict=True))
    reference |= {"temperature": params["temperature"], "out": params["out"]["kernel"].reshape(3, 4, 12)}
    np.testing.assert_allclose(module.apply({"params": params}, x), mdta_reference(x, reference, 3), atol=2e-5)


def test_cross_attention_reads_its_context():
    x, context = image(1, 6, 5, 8), image(1, 6, 5, 8, seed=3)
    module = blocks.GramAttention(heads=1)
    params = perturbed(module, x, context)
    itself = module.apply({"params": params}, x, x)
    np.testing.assert_allclose(itself, module.apply({"params": params}, x), atol=1e-5)
    assert np.abs(itself - module.apply({"params": params}, x, context)).max() > 1e-2


@pytest.mark.parametrize("lite", [True, False])
def test_a_padded_block_equals_the_unpadded_one(lite):
    x = image(2, 8, 12, 8)
    module = blocks.TransformerBlock(heads=2, expansion=2.0, lite=lite)
    params = perturbed(module, x)
    expected = module.apply({"params": params}, x)
    padded = np.full((2, 16, 16, 8), 7.0, np.float32)
    padded[:, :8, :12] = x
    mask = np.zeros((2, 16, 16, 1), np.float32)
    mask[:, :8, :12] = 1
    got = module.apply({"params": params}, padded, mask)[:, :8, :12]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    unmasked = module.apply({"params": params}, padded)[:, :8, :12]
    assert np.abs(unmasked - expected).max() > 1e-2  # the mask is what makes them equal


def test_identity_init_passes_the_first_channels():
    kernel = blocks.identity_init(4)(jax.random.key(0), (3, 3, 6, 8))
    module = blocks.Conv3x3(8)
    x = image(1, 5, 5, 6)
    out = module.apply({"params": {"kernel": kernel, "bias": jnp.zeros(8)}}, x)
    np.testing.assert_allclose(out[..., :4], x[..., :4], atol=1e-6)


def test_layer_norm_normalises_each_pixel():
    module = blocks.LayerNorm()
    x = 5 + 3 * image(2, 4, 4, 16)
    out = np.asarray(module.apply(module.init(jax.random.key(0), x), x))
    np.testing.assert_allclose(out.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(-1), 1, atol=1e-3)


@pytest.mark.parametrize("attention", [blocks.ChannelAttention(2), blocks.GramAttention(2)])
def test_sums_by_shares_add_up_to_those_of_the_whole(attention):
    """A pixel counts as much as its share in the mask says; only 0 is padding, which no convolution sees."""
    x, share = image(1, 12, 9, 8), np.random.default_rng(1).uniform(0.01, 0.99, (1, 12, 9, 1)).astype(np.float32)
    params = perturbed(attention, x)

    def sums(mask):
        changed = attention.apply({"params": params}, x, mask=mask, mutable=[blocks.STATISTICS])[1]
        return changed[blocks.STATISTICS]["sums"]

    for whole, *parts in zip(*map(sums, (None, share, 1 - share)), strict=True):
        np.testing.assert_allclose(sum(parts), whole, rtol=1e-4, atol=1e-3)


def test_pointwise_is_the_matrix_product_and_so_is_its_gradient():
    x, kernel, direction = image(2, 5, 7, 6), image(6, 4, seed=1), image(2, 5, 7, 4, seed=2)
    ours, backward = jax.vjp(blocks.pointwise, x, kernel)
    theirs, expected = jax.vjp(jnp.matmul, x, kernel)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for one, other in zip(backward(direction), expected(direction), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
