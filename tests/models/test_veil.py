"""The dark channel prior and Koschmieder's law in the network: a loop over the pixels, closed forms, padding."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.models.veil import (
    AROUND,
    FAINT,
    HAZIEST,
    KEPT,
    LEAST_TRANSMISSION,
    NEAREST,
    STRIDE,
    UNIT,
    USED,
    Lifting,
    dark_channel,
    upsampled,
)

RNG = np.random.default_rng(0)


def estimate(image, valid=None):
    valid = jnp.ones((*image.shape[:3], 1)) if valid is None else valid
    inside = valid[:, ::STRIDE, ::STRIDE]
    return jax.tree.map(np.asarray, dark_channel(jnp.asarray(image, jnp.float32), valid, inside))


def least_around(image, y, x, reach):
    """The least channel of the places about one, pixel by pixel."""
    top, left = (max(0, (i - reach) * STRIDE) for i in (y, x))
    return image[top : (y + reach + 1) * STRIDE, left : (x + reach + 1) * STRIDE].min()


def test_agrees_with_a_loop():
    image = RNG.uniform(0.5, 1, (36, 44, 3)).astype(np.float32)
    airlight, veils, seen = estimate(image[None])
    places = [(y, x) for y in range(9) for x in range(11)]
    blocks = [image[STRIDE * y : STRIDE * (y + 1), STRIDE * x : STRIDE * (x + 1)] for y, x in places]
    weight = np.array([least_around(image, y, x, NEAREST) ** HAZIEST for y, x in places])
    means = np.array([block.mean((0, 1)) for block in blocks])
    expected = ((weight[:, None] * means).sum(0) + FAINT * 99) / (weight.sum() + FAINT * 99)
    np.testing.assert_allclose(airlight[0, 0, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(seen[0, :, :, :3].reshape(-1, 3), means, rtol=1e-5)
    np.testing.assert_allclose(seen[0, :, :, 3].reshape(-1), [block.max() for block in blocks], rtol=1e-6)
    for veil, reach in zip(veils, AROUND, strict=True):
        found = [min(least_around(image, y, x, reach) / expected.max(), 1) for y, x in places]
        np.testing.assert_allclose(veil[0, :, :, 0].reshape(-1), found, rtol=1e-4)


def lifted(image, change=lambda params: params, mask=None, share=1.0):
    """The image with what the layer adds; its network begins without a say."""
    module = Lifting()
    params = change(nn.unbox(module.init(jax.random.key(0), jnp.asarray(image, jnp.float32)))["params"])
    params["share"] += share
    return np.asarray(image + module.apply({"params": params}, jnp.asarray(image, jnp.float32), mask))


def test_it_gives_the_scene_back_where_the_prior_holds():
    scene = RNG.random((96, 96, 3)).astype(np.float32)
    scene[::4, ::4] = 0  # something black within every window
    scene[:32] = 1  # and a place of nothing but air, for the airlight
    transmission = np.full((96, 1, 1), 0.5, np.float32)
    transmission[:32] = 0
    airlight = np.full(3, 0.9, np.float32)
    hazy = scene * transmission + airlight * (1 - transmission)
    veil = 1 - (1 - KEPT) * 0.5  # of which a rest stays
    expected = np.clip((hazy - airlight) / veil + airlight, 0, 1)
    np.testing.assert_allclose(lifted(hazy[None])[0, 48:80], expected[48:80], atol=1e-3)
    assert np.abs(expected - scene)[48:80].max() < 0.06 < 0.3 < np.abs(hazy - scene)[48:80].max()


def test_it_begins_at_nought_and_what_is_told_follows_the_law():
    image = RNG.uniform(0.4, 0.8, (1, 40, 48, 3)).astype(np.float32)
    np.testing.assert_array_equal(lifted(image, share=0.0), image)
    depth, light, more = 0.2, 0.1, np.array([0.02, 0.0, -0.02])

    def told(params):
        bias = jnp.array([depth, *[light / UNIT] * 3, *(more / UNIT)])
        return params | {"told": params["told"] | {"bias": bias}}

    airlight, veils, _ = estimate(image)
    gain = np.exp(depth - np.log(np.maximum(1 - (1 - KEPT) * veils[USED], LEAST_TRANSMISSION)))
    both = np.concatenate([gain, (airlight + light) * (1 - gain) + more], -1)
    gain, added = np.split(np.asarray(upsampled(both, np.ones((1, 10, 12, 1)))), [1], -1)
    np.testing.assert_allclose(lifted(image, told), np.clip(gain * image + added, 0, 1), atol=1e-4)


def test_upsampling_is_linear_between_the_middles_and_constant_beyond():
    ramp = np.tile(np.arange(5.0, dtype=np.float32)[:, None, None], (1, 1, 6, 2))
    expected = np.clip((np.arange(20) + 0.5) / 4 - 0.5, 0, 4)
    inside = np.ones((1, 5, 6, 1))
    found = np.asarray(upsampled(ramp, inside))
    assert found.shape == (1, 20, 24, 2)
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None, None], found.shape), atol=1e-6)
    np.testing.assert_allclose(upsampled(ramp.swapaxes(1, 2), inside.swapaxes(1, 2)), found.swapaxes(1, 2), atol=1e-6)


@pytest.mark.parametrize("size", [(24, 40), (32, 64)])
def test_padding_does_not_count(size):
    image = RNG.uniform(0.3, 1, (1, *size, 3)).astype(np.float32)
    beyond = ((0, 0), (0, 8), (0, 16), (0, 0))
    mask = np.pad(np.ones((1, *size, 1), np.float32), beyond)

    def alive(params):
        return jax.tree.map(lambda p: p + 0.02 * jax.random.normal(jax.random.key(p.size), p.shape), params)

    found = lifted(np.pad(image, beyond, constant_values=1), alive, mask)
    np.testing.assert_allclose(found[:, : size[0], : size[1]], lifted(image, alive), atol=1e-4)
    np.testing.assert_array_equal(found[:, size[0] :], 1)


def test_no_image_gives_no_nan():
    assert np.isfinite(lifted(np.zeros((1, 16, 16, 3)), mask=np.zeros((1, 16, 16, 1), np.float32))).all()


def test_gradients_of_grey_images_are_finite():
    # The greatest of three equal channels, each computed twice and rounded otherwise, may equal none of them
    rng = np.random.default_rng(0)
    grey = rng.uniform(0.3, 0.5, (64, 1, 1, 1)) + rng.uniform(0, 0.1, (64, 48, 48, 1))
    images = jnp.asarray(np.repeat(grey, 3, -1), jnp.float32)
    params = nn.unbox(Lifting().init(jax.random.key(0), images))["params"] | {"share": jnp.ones(1)}
    gradient = jax.jit(jax.grad(lambda x: (Lifting().apply({"params": params}, x) ** 2).sum()))(images)
    assert np.isfinite(gradient).all()


def test_a_dark_image_has_white_air():
    airlight, veils, _ = estimate(np.full((1, 32, 32, 3), 0.02, np.float32))
    np.testing.assert_allclose(airlight, 1, rtol=1e-3)
    np.testing.assert_allclose(veils[USED], 0.02, rtol=1e-3)
