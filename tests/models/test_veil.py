"""The dark channel prior in the network: a loop over the pixels, and a closed form."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.inference.tiles import pool
from lure_jax.models.blocks import shuffle
from lure_jax.models.veil import FAINT, HAZIEST, LEAST_TRANSMISSION, WINDOW, Lifting, estimate_veil

RNG = np.random.default_rng(0)


class Estimate(nn.Module):
    stem: int

    @nn.compact
    def __call__(self, image, mask=None):
        return estimate_veil(self, image, mask, self.stem)


def estimate(image, mask=None, stem=2):
    return jax.tree.map(np.asarray, Estimate(stem).apply({}, jnp.asarray(image, jnp.float32), mask))


def least_around(image, y, x, stem):
    """The least channel in a window about a place, pixel by pixel."""
    reach = WINDOW // stem // 2 * stem
    top, left = max(0, y - reach), max(0, x - reach)
    return image[top : y + stem + reach, left : x + stem + reach].min()


@pytest.mark.parametrize("stem", [1, 2])
def test_agrees_with_a_loop(stem):
    image = RNG.uniform(0.5, 1, (36, 44, 3)).astype(np.float32)
    found = estimate(image[None], stem=stem)
    places = [(y, x) for y in range(0, 36, stem) for x in range(0, 44, stem)]
    weight = np.array([least_around(image, y, x, stem) ** HAZIEST for y, x in places])
    colours = np.array([image[y, x] for y, x in places])
    airlight = ((weight[:, None] * colours).mean(0) + FAINT) / (weight.mean() + FAINT)
    np.testing.assert_allclose(found.seen[0, 0, 0, 2:], airlight, rtol=1e-4)
    for y, x in places[::17]:
        veil = min(least_around(image / airlight, y, x, stem), 1)
        transmission = max(1 - veil, LEAST_TRANSMISSION)
        here = found.seen[0, y // stem, x // stem], found.gain[0, y // stem, x // stem, 0]
        np.testing.assert_allclose(here[0][:2], [veil, -np.log(transmission)], rtol=1e-3)
        np.testing.assert_allclose(here[1], 1 / transmission - 1, rtol=2e-3)


def test_lifting_gives_the_scene_back_where_the_prior_holds():
    scene = RNG.random((64, 64, 3)).astype(np.float32)
    scene[::4, ::4] = 0  # something black within every window
    scene[:16] = 1  # and a place of nothing but air, for the airlight
    transmission = np.linspace(0.3, 0.9, 4).repeat(16)[:, None, None].astype(np.float32)
    transmission[:16] = 0
    airlight = np.array([0.95, 0.9, 0.85], np.float32)
    hazy = scene * transmission + airlight * (1 - transmission)
    found = estimate(hazy[None])
    np.testing.assert_allclose(found.seen[0, 0, 0, 2:], airlight, atol=1e-3)
    lifted = hazy + shuffle(found.lifted, 2)[0]
    for band in range(1, 4):  # away from where two transmissions meet
        inside = slice(16 * band, 16 * band + 16 - WINDOW // 2)
        np.testing.assert_allclose(lifted[inside], scene[inside], atol=0.02)


def test_padding_does_not_count():
    image = RNG.uniform(0.3, 1, (1, 24, 40, 3)).astype(np.float32)
    beyond = ((0, 0), (0, 8), (0, 16), (0, 0))
    mask = np.pad(np.ones((1, 24, 40, 1), np.float32), beyond)
    padded = estimate(np.pad(image, beyond), mask)
    for within, found in zip(padded, estimate(image), strict=True):
        assert np.isfinite(within).all()
        np.testing.assert_allclose(within[:, :12, :20], found, rtol=1e-4, atol=1e-5)


def test_the_airlight_of_two_halves_is_that_of_the_whole():
    image = RNG.uniform(0.7, 1, (1, 32, 48, 3)).astype(np.float32)
    image[:, :16] *= 0.9
    parts = []
    for rows in (slice(0, 12), slice(12, 32)):  # all of the image is seen, and each row counts once
        mask = np.full((1, 32, 48, 1), 1e-6, np.float32)
        mask[:, rows] = 1
        parts.append(
            jax.tree.map(np.asarray, Estimate(2).apply({}, image, mask, mutable="statistics")[1])["statistics"]
        )
    whole = Estimate(2).apply({}, image, mutable="statistics")[1]["statistics"]["airlight"]
    np.testing.assert_allclose(pool(parts, [12 * 48, 20 * 48])["airlight"], whole, rtol=1e-4)
    assert not np.allclose(parts[0]["airlight"][:, :3], whole[:, :3], rtol=1e-3)


def test_no_image_gives_no_nan():
    assert np.isfinite(estimate(np.zeros((1, 16, 16, 3)), np.zeros((1, 16, 16, 1), np.float32)).seen).all()


def test_a_dark_image_has_white_air_and_no_veil():
    found = estimate(np.full((1, 32, 32, 3), 0.02, np.float32))
    np.testing.assert_allclose(found.seen[0, 0, 0], [0.02, -np.log(0.98), 1, 1, 1], rtol=1e-3)


def test_what_is_lifted_starts_at_nought_and_has_both_terms():
    image = RNG.random((1, 32, 32, 3)).astype(np.float32)
    veil, x = Estimate(2).apply({}, image), RNG.random((1, 16, 16, 16)).astype(np.float32)
    module = Lifting(latent=24)
    params = nn.unbox(module.init(jax.random.key(0), x, veil))
    assert not np.any(module.apply(params, x, veil))
    params["params"]["share"]["bias"] = jnp.array([1.0] * 12 + [0.1] * 12)
    out = module.apply(params, x, veil)
    np.testing.assert_allclose(out[..., :12], veil.lifted - 0.1 * veil.gain, atol=1e-4)
