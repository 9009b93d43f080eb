"""Tone curves in the network: closed forms, a reference in numpy, and what starts at nought."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.inference.tiles import pool
from lure_jax.models.blocks import unshuffle
from lure_jax.models.tone import BRIGHTEST, DARKEST, KNEES, Toning, log_curves, measure_tone, surroundings

RNG = np.random.default_rng(0)
LUMA = np.array([0.299, 0.587, 0.114])


class Measure(nn.Module):
    @nn.compact
    def __call__(self, image, mask=None):
        return measure_tone(self, image, mask, 2)


def measure(image, mask=None):
    return jax.tree.map(np.asarray, Measure().apply({}, jnp.asarray(image, jnp.float32), mask))


def test_curves_go_from_nought_to_one_and_begin_as_steep_as_said():
    np.testing.assert_allclose(log_curves(jnp.array([[0.0], [1.0]])), [[0] * 3, [1] * 3], atol=1e-6)
    slopes = log_curves(jnp.array([[1e-5]]))[0] / 1e-5
    np.testing.assert_allclose(slopes, [1 / c / np.log(1 + 1 / c) for c in KNEES], rtol=2e-3)
    np.testing.assert_allclose(slopes, [21.7, 7.7, 3.2], atol=0.1)


def test_agrees_with_numpy():
    image = RNG.random((1, 24, 32, 3)).astype(np.float32)
    found, sample = measure(image), image[0, ::2, ::2].reshape(-1, 3).astype(np.float64)
    blocks = image[0].astype(np.float64).reshape(12, 2, 16, 2, 3).max((1, 3, 4))
    white = (blocks**BRIGHTEST).mean() ** (1 / BRIGHTEST)
    curves = np.stack([np.log1p(sample @ LUMA / c) / np.log1p(1 / c) for c in KNEES], -1)
    np.testing.assert_allclose(found.white, [[white]], rtol=1e-5)
    np.testing.assert_allclose(found.brightness[0], [*curves.mean(0), *curves.std(0), np.log(white)], rtol=1e-3)
    np.testing.assert_array_equal(found.pixels, unshuffle(image, 2))


@pytest.mark.parametrize("gain", [0.5, 0.05])
def test_the_white_point_follows_a_gain(gain):
    image = RNG.random((1, 24, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(measure(gain * image).white, gain * measure(image).white, rtol=1e-4)


@pytest.mark.parametrize("y, x", [(10, 20), (11, 20), (10, 21), (11, 21)])
def test_a_lamp_of_one_pixel_is_seen_wherever_it_is(y, x):
    image = np.full((1, 24, 32, 3), 0.02, np.float32)
    image[0, y, x] = 1
    np.testing.assert_allclose(measure(image).white, [[(12 * 16) ** (-1 / BRIGHTEST)]], rtol=1e-3)


def test_a_black_image_has_a_white_point():
    found = measure(np.zeros((1, 16, 16, 3)))
    np.testing.assert_allclose(found.white, [[DARKEST]], rtol=1e-4)
    assert all(np.isfinite(part).all() for part in found)
    assert np.isfinite(measure(np.zeros((1, 16, 16, 3)), np.zeros((1, 16, 16, 1), np.float32)).brightness).all()


def test_padding_does_not_count():
    image = RNG.random((1, 24, 40, 3)).astype(np.float32)
    beyond = ((0, 0), (0, 8), (0, 16), (0, 0))
    mask = np.pad(np.ones((1, 24, 40, 1), np.float32), beyond)
    padded = measure(np.pad(image, beyond, constant_values=1), mask)
    np.testing.assert_allclose(padded.white, measure(image).white, rtol=1e-5)
    np.testing.assert_allclose(padded.brightness, measure(image).brightness, rtol=1e-4)
    around = surroundings(jnp.asarray(padded.pixels), mask[:, ::2, ::2])[:, :12, :20]
    np.testing.assert_allclose(around, surroundings(jnp.asarray(unshuffle(image, 2)), None), rtol=1e-5)


def test_what_two_halves_say_is_what_the_whole_says():
    image = RNG.random((1, 32, 48, 3)).astype(np.float32)
    image[:, :16] *= 0.3
    parts = []
    for rows in (slice(0, 12), slice(12, 32)):  # all of the image is seen, and each row counts once
        mask = np.full((1, 32, 48, 1), 1e-6, np.float32)
        mask[:, rows] = 1
        parts.append(jax.tree.map(np.asarray, Measure().apply({}, image, mask, mutable="statistics")[1])["statistics"])
    pooled = pool(parts, [12 * 48, 20 * 48])
    found = Measure().apply({"statistics": pooled}, image[:, :16])
    np.testing.assert_allclose(found.white, measure(image).white, rtol=1e-4)
    np.testing.assert_allclose(found.brightness, measure(image).brightness, rtol=1e-3)
    assert not np.allclose(found.brightness, measure(image[:, :16]).brightness, rtol=0.05)


def test_surroundings_are_the_mean_of_six_pixels_by_six():
    image = RNG.random((1, 12, 12, 3)).astype(np.float32)
    found = surroundings(unshuffle(jnp.asarray(image), 2), None)[0]
    np.testing.assert_allclose(found[2, 3], image[0, 2:8, 4:10].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(found[0, 5], image[0, :4, 8:12].mean((0, 1)), rtol=1e-5)


def test_toning_starts_at_nought_and_adds_shares_of_curves():
    image = RNG.uniform(0, 0.2, (1, 32, 32, 3)).astype(np.float32)
    tone, x = Measure().apply({}, image), RNG.random((1, 16, 16, 16)).astype(np.float32)
    module = Toning(latent=24)
    params = nn.unbox(module.init(jax.random.key(0), x, tone))
    assert not np.any(module.apply(params, x, tone))
    bias = np.zeros_like(params["params"]["share"]["bias"])
    bias[:12], bias[12:24], bias[48:60] = 0.1, 0.5, 0.25  # a constant; the first log curve; the pixel over the white
    params["params"]["share"]["bias"] = jnp.asarray(bias).at[-3:].set(0.125)  # its surroundings over the white
    out = module.apply(params, x, tone)[..., :12]
    pixels, around = unshuffle(image, 2), np.tile(surroundings(tone.pixels, None), 4)
    first = np.log1p(pixels / KNEES[0]) / np.log1p(1 / KNEES[0])
    expected = 0.1 + 0.5 * first + (0.25 * pixels + 0.125 * around) / np.asarray(tone.white)[..., None, None]
    np.testing.assert_allclose(out, expected, rtol=1e-4)
