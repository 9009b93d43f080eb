"""Filters against scipy, their transposes against the inner product, and the fence against XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from lure_jax.metrics.filters import gaussian_blur, gaussian_taps, separable, sobel, uniform

IMAGE = np.random.default_rng(0).random((2, 14, 17)).astype(np.float32)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_separable_is_scipys_correlation(padding):
    vertical, horizontal = (0.2, -1.0, 0.5, 3.0, 0.0), (1.0, 2.0, -4.0)
    window = np.outer(vertical, horizontal)
    expected = [correlate2d(x, window, mode=padding) for x in IMAGE]
    np.testing.assert_allclose(separable(IMAGE, vertical, horizontal, padding), expected, atol=1e-5)


def test_channels_are_filtered_alone():
    x = np.stack([IMAGE, 2 - IMAGE, IMAGE**2], -1)
    expected = np.stack([gaussian_blur(x[..., k], 5, 1.0) for k in range(3)], -1)
    np.testing.assert_allclose(gaussian_blur(x, 5, 1.0), expected, atol=1e-6)


def test_gradient_is_the_transpose():
    vertical, horizontal = (0.2, -1.0, 0.5), (1.0, 2.0, -4.0, 0.3, 7.0)
    for padding in ("same", "valid"):
        f = lambda x: separable(x, vertical, horizontal, padding)  # noqa: B023, E731
        out, pull = jax.vjp(f, jnp.asarray(IMAGE))
        cotangent = jax.random.normal(jax.random.key(1), out.shape)
        other = jax.random.normal(jax.random.key(2), IMAGE.shape)
        np.testing.assert_allclose(
            (pull(cotangent)[0] * other).sum(), (f(other) * cotangent).sum(), rtol=1e-4
        )


def test_sobel_of_a_step_and_of_a_ramp():
    step = jnp.zeros((1, 6, 8)).at[:, :, 4:].set(1.0)
    gx, gy = sobel(step)
    np.testing.assert_allclose(gx[0, 1:-1, 3:5], 4)
    np.testing.assert_allclose(gy[0, 1:-1], 0)
    gx, gy = sobel(step.swapaxes(1, 2))
    np.testing.assert_allclose(gy[0, 3:5, 1:-1], 4)


def test_windows():
    taps = np.array(gaussian_taps(11, 1.5))
    assert taps.sum() == pytest.approx(1)
    assert taps[5] / taps[7] == pytest.approx(np.exp(0.5 * (2 / 1.5) ** 2))
    np.testing.assert_allclose(uniform(jnp.ones((1, 9, 9)), 3)[0, 0, :2], [4 / 9, 6 / 9], rtol=1e-6)


def test_too_small_an_image_is_named():
    with pytest.raises(ValueError, match="14x17 .* 15x15"):
        gaussian_blur(IMAGE, 15, 2.0, "valid")


def test_two_passes_stay_two_loops():
    """If XLA fuses the passes again, the compiled filter does 11 x 11 multiplications a pixel instead of 22."""
    x = jnp.zeros((1, 64, 64))
    cost = jax.jit(lambda x: gaussian_blur(x, 11, 1.5, "valid")).lower(x).compile().cost_analysis()
    assert cost["flops"] < 60 * x.size
