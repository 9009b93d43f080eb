"""SSIM and MS-SSIM against numpy written from the papers' formulas, gradients against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.signal import correlate2d

from lure_jax.metrics.ms_ssim import WEIGHTS, ms_ssim
from lure_jax.metrics.ssim import ssim

OFFSETS = np.arange(-5, 6)
WINDOW = np.exp(-(OFFSETS[:, None] ** 2 + OFFSETS**2) / (2 * 1.5**2))
WINDOW /= WINDOW.sum()


def moments(x, y, data_range):
    blur = lambda z: correlate2d(z, WINDOW, mode="valid")  # noqa: E731
    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    return (2 * mx * my + c1) / (mx**2 + my**2 + c1), (2 * cov + c2) / (vx + vy + c2)


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(3)
    x = rng.random((2, 30, 41))
    return x, np.clip(0.6 * x + 0.3 * rng.random(x.shape), 0, 1)


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_formula(pair, data_range):
    x, y = (z * data_range for z in pair)
    expected = [np.prod(moments(a, b, data_range), axis=0).mean() for a, b in zip(x, y, strict=True)]
    got = ssim(jnp.float32(x), jnp.float32(y), data_range=data_range)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    np.testing.assert_allclose(ssim(jnp.float32(y), jnp.float32(x), data_range=data_range), got, rtol=1e-5)


def test_channels_are_averaged(pair):
    x, y = (jnp.float32(z) for z in pair)
    colour = ssim(jnp.stack([x, y, x], -1), jnp.stack([y, y, x], -1))
    np.testing.assert_allclose(colour, (ssim(x, y) + 2) / 3, rtol=1e-5)


def test_flat_images_leave_the_luminance_term():
    x, y = jnp.full((1, 12, 12), 0.2), jnp.full((1, 12, 12), 0.6)
    np.testing.assert_allclose(ssim(x, y), (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4), rtol=1e-3)
    np.testing.assert_allclose(ssim(x, x), 1)


def test_padding_does_not_count(pair):
    x, y = (jnp.float32(z) for z in pair)
    pad = lambda z, value: jnp.pad(z, ((0, 0), (0, 7), (0, 13)), constant_values=value)  # noqa: E731
    mask = pad(jnp.ones(x.shape, bool), False)
    np.testing.assert_allclose(ssim(pad(x, 9.0), pad(y, jnp.nan), mask=mask), ssim(x, y), rtol=1e-6)


def test_gradient(pair):
    x, y = (jnp.float32(z[:, :13, :14]) for z in pair)
    check_grads(jax.jit(ssim), (x, y), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_vmap_agrees(pair):
    x, y = (jnp.float32(z) for z in pair)
    np.testing.assert_allclose(jax.vmap(lambda a, b: ssim(a[None], b[None])[0])(x, y), ssim(x, y), rtol=1e-6)


def _halve(z):
    height, width = z.shape[0] // 2, z.shape[1] // 2
    return z[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))


def test_ms_ssim_formula():
    rng = np.random.default_rng(5)
    x = rng.random((177, 181)).cumsum(0).cumsum(1)
    x /= x.max()
    y = np.clip(x + 0.1 * rng.standard_normal(x.shape), 0, 1)
    got = jax.jit(ms_ssim)(jnp.float32(x)[None], jnp.float32(y)[None])
    expected = 1.0
    for scale, weight in enumerate(WEIGHTS):
        luminance, structure = moments(x, y, 1.0)
        expected *= (luminance * structure if scale == 4 else structure).mean() ** weight
        x, y = _halve(x), _halve(y)
    np.testing.assert_allclose(got, [expected], rtol=1e-4)
    with pytest.raises(ValueError, match="smaller"):
        ms_ssim(jnp.zeros((1, 170, 200)), jnp.zeros((1, 170, 200)))
