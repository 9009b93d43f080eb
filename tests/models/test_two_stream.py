"""The two-stream network and the segmentation heads: sizes, padding, the start, and what a finished model keeps."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from lure_jax.metrics.color import luma, rgb_to_ycbcr
from lure_jax.models import registry
from lure_jax.models.segmentation import PREFIXES

MODEL = dict(name="two_stream", preset="tiny", dtype="float32")


def build(**heads):
    config = ConfigDict(dict(model=MODEL, heads=dict(preset="tiny", clusters=5) | heads))
    model = registry.build(config.model)
    return model, registry.build_heads(config, model)


@pytest.fixture(scope="module")
def tiny():
    """Model, heads, their initial parameters, and parameters where every branch is alive."""
    model, heads = build()
    params = nn.unbox(jax.jit(lambda key: registry.initialise(model, key, heads))(jax.random.key(0)))
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    alive = tree.unflatten([leaf + 0.05 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves])
    return model, heads, params, alive


def pair(height, width, seed=0):
    rng = np.random.default_rng(seed)
    smooth = jax.image.resize(rng.random((1, 4, 4, 4)), (1, height, width, 4), "linear").astype(jnp.float32)
    return smooth[..., :3], smooth[..., 3:]


@functools.partial(jax.jit, static_argnums=0)
def fuse(model, params, visible, infrared, mask=None):
    return model.apply({"params": params}, visible, infrared, pixel_mask=mask)


@pytest.mark.parametrize("size", [(1, 1), (13, 22), (32, 40)])
def test_any_size_in_same_size_out(tiny, size):
    model, heads, _, alive = tiny
    visible, infrared = pair(*size)
    output = fuse(model, alive, visible, infrared)
    assert output.image.shape == (1, *size, 3)
    assert np.isfinite(output.image).all() and output.image.min() >= 0 and output.image.max() <= 1
    logits = heads.apply({"params": alive}, output.features, output.image)
    assert [x.shape for x in logits] == [(1, -(-size[0] // 4), -(-size[1] // 4), 5)] * 2


def test_features_are_the_pyramid_below_the_full_resolution(tiny):
    model, _, _, alive = tiny
    features = fuse(model, alive, *pair(32, 40)).features
    assert [f.shape[1:] for f in features] == [(16, 20, 32), (8, 10, 64), (4, 5, 96)]
    assert tuple(f.shape[-1] for f in features) == model.sizes.feature_widths


def test_padded_is_unpadded(tiny):
    model, _, _, alive = tiny
    visible, infrared = pair(24, 32)
    grown = [np.pad(x, ((0, 0), (0, 8), (0, 16), (0, 0)), constant_values=0.7) for x in (visible, infrared)]
    mask = np.zeros((1, 32, 48), np.float32)
    mask[:, :24, :32] = 1
    padded, plain = fuse(model, alive, *grown, mask), fuse(model, alive, visible, infrared)
    np.testing.assert_allclose(padded.image[:, :24, :32], plain.image, atol=1e-4)
    for inside, feature in zip(padded.features, plain.features, strict=True):
        np.testing.assert_allclose(inside[:, : feature.shape[1], : feature.shape[2]], feature, atol=1e-4)


def test_the_start_is_the_mean_of_both_lumas_under_the_visible_colour(tiny):
    model, _, params, _ = tiny
    visible, infrared = pair(32, 40)
    image = fuse(model, params, visible, infrared).image
    mean = (luma(visible) + infrared[..., 0]) / 2
    assert np.abs(luma(image) - mean).mean() < 0.06
    chroma = np.asarray(rgb_to_ycbcr(image) - rgb_to_ycbcr(visible))[..., 1:]
    inside = ((image > 0.001) & (image < 0.999)).all(-1)
    assert np.abs(chroma[inside]).max() < 1e-5 and inside.mean() > 0.5


def test_both_streams_and_all_levels_reach_the_image(tiny):
    model, _, _, alive = tiny
    visible, infrared = pair(16, 16)
    gradient = jax.jit(jax.grad(lambda p: jnp.square(model.apply({"params": p}, visible, infrared).image).sum()))(alive)
    for name in registry.without_heads(alive):
        assert any(float(jnp.abs(leaf).max()) > 1e-6 for leaf in jax.tree.leaves(gradient[name])), name
    assert not any(float(jnp.abs(leaf).max()) for name in PREFIXES for leaf in jax.tree.leaves(gradient[name]))


def test_tiny_is_small_and_a_finished_model_has_no_heads(tiny):
    bare = registry.without_heads(tiny[2])
    assert set(tiny[2]) - set(bare) == set(PREFIXES)
    assert 4 * sum(leaf.size for leaf in jax.tree.leaves(bare)) < 5e6


@pytest.mark.parametrize("preset", ["tiny", "base"])
def test_every_parameter_has_named_axes(preset):
    config = ConfigDict(dict(model=MODEL | dict(preset=preset), heads=dict(preset=preset, clusters=27)))
    model = registry.build(config.model)
    heads = registry.build_heads(config, model)
    boxed = jax.eval_shape(lambda key: registry.initialise(model, key, heads), jax.random.key(0))
    is_box = lambda leaf: isinstance(leaf, nn.Partitioned)  # noqa: E731
    leaves = jax.tree.leaves(boxed, is_leaf=is_box)
    assert leaves and all(is_box(leaf) and len(leaf.names) == leaf.value.ndim for leaf in leaves)


def test_heads_attach_to_lure():
    config = ConfigDict(dict(
        model=dict(name="lure", preset="base", text="table", dtype="float32", remat=False),
        heads=dict(preset="tiny", clusters=27),
    ))  # fmt: skip
    model = registry.build(config.model)
    heads = registry.build_heads(config, model)
    params = jax.eval_shape(lambda key: nn.unbox(registry.initialise(model, key, heads)), jax.random.key(0))
    assert [params["feature_head"][f"level_{i}"]["kernel"].shape for i in range(3)] == [(96, 64), (192, 64), (384, 64)]


def test_unknown_values_are_named():
    with pytest.raises(ValueError, match="config.model.name='gan' is not known; choose one of lure, two_stream"):
        registry.build(ConfigDict(MODEL | dict(name="gan")))
    with pytest.raises(ValueError, match="config.model.preset='large' is not known; choose one of tiny, base"):
        registry.build(ConfigDict(MODEL | dict(preset="large")))
    with pytest.raises(ValueError, match="config.heads.preset='huge'"):
        build(preset="huge")
    with pytest.raises(ValueError, match="config.heads.clusters=1,"):
        build(clusters=1)
