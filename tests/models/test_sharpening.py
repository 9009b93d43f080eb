"""Blur kernels told from spectra, and Wiener's filter: numpy's Fourier transform, the kernels of the degradations."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.data.kernels import disc_kernel, line_kernel, shift_sum
from lure_jax.models.sharpening import (
    BEYOND,
    FAINT,
    LENGTH,
    NOISE,
    RADIUS,
    REACH,
    STEP,
    WINDOW,
    Blur,
    Sharpening,
    blur_of,
    deconvolve,
    disc,
    line,
    log_spectrum,
)

RNG = np.random.default_rng(0)


def middle(kernel, side):
    margin = (kernel.shape[-1] - side) // 2
    assert np.abs(kernel).sum() == pytest.approx(np.abs(kernel[margin:-margin, margin:-margin]).sum())
    return kernel[margin:-margin, margin:-margin]


def spectrum_of(gray):
    """The same from the formula."""
    rise = np.sin(np.pi * (np.arange(WINDOW) + 1) / (WINDOW + 1)) ** 2
    windows = np.lib.stride_tricks.sliding_window_view(gray, (WINDOW, WINDOW))[::STEP, ::STEP].reshape(
        -1, WINDOW, WINDOW
    )
    windows = (windows - windows.mean((1, 2), keepdims=True)) * np.outer(rise, rise)
    return np.log(np.abs(np.fft.rfft2(windows)) ** 2 + FAINT).mean(0).reshape(-1)


@pytest.mark.parametrize("shape", [(64, 80), (61, 52)])
def test_spectrum_agrees_with_numpy(shape):
    gray = RNG.random(shape)
    np.testing.assert_allclose(
        log_spectrum(jnp.asarray(gray, jnp.float32)[None], None)[0], spectrum_of(gray), atol=1e-3
    )


def test_padding_has_no_part_in_the_spectrum():
    gray = RNG.random((1, 48, 64)).astype(np.float32)
    beyond = ((0, 0), (0, 16), (0, 24))
    mask = np.pad(np.ones_like(gray), beyond)[..., None]
    padded = log_spectrum(np.pad(gray, beyond, constant_values=1), mask)
    np.testing.assert_allclose(padded, log_spectrum(gray, None), atol=1e-4)
    tiny = log_spectrum(jnp.zeros((1, 16, 16)), None)
    assert not np.any(tiny)  # smaller than a window


@pytest.mark.parametrize("radius", [1.2, 2.0, 3.5])
def test_discs_are_those_of_the_degradations(radius):
    expected = disc_kernel(radius)
    np.testing.assert_allclose(middle(np.asarray(disc(jnp.array([radius])))[0], len(expected)), expected, atol=1e-6)


@pytest.mark.parametrize("length, angle", [(5, 0.3), (9, 0.0), (12, np.pi / 2), (15, 2.0)])
def test_lines_are_those_of_the_degradations(length, angle):
    double = jnp.array([[3 * np.cos(2 * angle), 3 * np.sin(2 * angle)]])
    expected = line_kernel(length, angle)
    found = middle(np.asarray(line(jnp.array([float(length)]), double))[0], len(expected))
    np.testing.assert_allclose(found, expected, atol=6e-3)  # of sums of 65 points and of 4 l + 1
    np.testing.assert_allclose(found.sum(), 1, rtol=1e-5)


def test_what_is_told_becomes_a_kernel():
    told = np.zeros((3, 8), np.float32)
    told[0, :3], told[1, :3], told[2, :3] = (50, 0, 0), (0, 50, 0), (0, 0, 50)
    told[0, 4:7], told[1, 3], told[2, 7] = ((7 - LENGTH[0]) / LENGTH[1], -1, 0), (3 - RADIUS[0]) / RADIUS[1], 2
    found = blur_of(jnp.asarray(told))
    np.testing.assert_allclose(found.kernel[0], line(jnp.array([7.0]), jnp.array([[-1.0, 0]]))[0], atol=1e-6)
    np.testing.assert_allclose(found.kernel[1], disc(jnp.array([3.0]))[0], atol=1e-6)
    assert found.kernel[2, REACH, REACH] == pytest.approx(1)
    np.testing.assert_allclose(found.noise, [NOISE, NOISE, NOISE + 2])


def wiener(image, kernel, noise):
    """The same with numpy's Fourier transform."""
    mean = image.mean((0, 1))
    around = ((BEYOND, BEYOND), (BEYOND, BEYOND), (0, 0))
    fade = [np.clip(1 - np.maximum(np.maximum(-i, i - n + 1), 0) / BEYOND, 0, 1)
            for n in image.shape[:2] for i in [np.arange(-BEYOND, n + BEYOND)]]  # fmt: skip
    x = np.pad(image - mean, around, mode="edge") * np.outer(*fade)[..., None]
    taps = np.zeros(x.shape[:2])
    taps[: len(kernel), : len(kernel)] = kernel
    k = np.fft.fft2(np.roll(taps, (-REACH, -REACH), (0, 1)))
    squared = np.fft.fftfreq(x.shape[0])[:, None] ** 2 + np.fft.fftfreq(x.shape[1]) ** 2
    gain = np.conj(k) / (np.abs(k) ** 2 + np.exp(noise) * 100 * (squared + 2e-4))
    x = np.real(np.fft.ifft2(np.fft.fft2(x, axes=(0, 1)) * gain[..., None], axes=(0, 1)))
    return x[BEYOND:-BEYOND, BEYOND:-BEYOND] + mean


@pytest.mark.parametrize("shape", [(40, 56), (41, 33)])
def test_deconvolution_agrees_with_numpys_fourier_transform(shape):
    image = RNG.random((1, *shape, 3)).astype(np.float32)
    blur = Blur(line(jnp.array([7.0]), jnp.array([[0.5, 0.9]])), jnp.array([-7.0]))
    expected = wiener(image[0], np.asarray(blur.kernel[0], np.float64), -7.0)
    np.testing.assert_allclose(deconvolve(jnp.asarray(image), blur, None)[0], expected, atol=2e-4)


def test_padding_does_not_count_in_deconvolution():
    image = RNG.random((1, 40, 48, 3)).astype(np.float32)
    blur = Blur(disc(jnp.array([2.0])), jnp.array([-5.0]))
    beyond = ((0, 0), (0, 24), (0, 16), (0, 0))
    mask = np.pad(np.ones((1, 40, 48, 1), np.float32), beyond)
    padded = deconvolve(np.pad(image, beyond, constant_values=1), blur, mask)[:, :40, :48]
    # Of another period, of which little is left beyond the faded border
    np.testing.assert_allclose(padded, deconvolve(image, blur, None), atol=5e-3)


@pytest.mark.parametrize("kernel", [disc_kernel(2.3), line_kernel(9, 0.7)])
def test_a_known_blur_is_undone(kernel):
    y, x = np.mgrid[:128, :160] / 160
    sharp = np.stack([0.5 + 0.3 * np.sin(40 * x + 25 * y), (x > 0.4) * 0.5 + 0.2, (x + y < 0.8) * 0.4 + 0.3], -1)
    blurred = np.round(255 * shift_sum(sharp.astype(np.float32), kernel)) / 255
    taps = np.pad(kernel, REACH - len(kernel) // 2)[None]
    found = deconvolve(
        jnp.asarray(blurred[None], jnp.float32), Blur(jnp.asarray(taps, jnp.float32), jnp.array([-8.0])), None
    )
    before, after = (np.square(a - sharp)[16:-16, 16:-16].mean() for a in (blurred, np.asarray(found[0])))
    assert after < before / 3


def test_the_layer_adds_a_share_of_what_deconvolution_changes():
    image = jnp.asarray(RNG.random((1, 32, 48, 3)).astype(np.float32))
    module = Sharpening()
    params = nn.unbox(module.init(jax.random.key(0), image))
    assert not np.any(module.apply(params, image))
    params["params"]["share"] = jnp.array([0.5])
    told = params["params"]["blur"]["answer"]
    told["kernel"], told["bias"] = 0 * told["kernel"], jnp.array([-50.0, 50, -50, 0, 0, 0, 0, 1])
    blur = Blur(disc(jnp.array([RADIUS[0]])), jnp.array([NOISE + 1]))
    sharp = jnp.clip(deconvolve(image, blur, None), 0, 1)
    np.testing.assert_allclose(module.apply(params, image), (sharp - image) / 2, atol=1e-5)
    told["bias"] = jnp.array([-50.0, -50, 50, 0, 0, 0, 0, -20])
    assert jnp.abs(module.apply(params, image)).max() < 1e-3
