"""Shrinkage of cosine coefficients in the network: scipy's transform, a reference in numpy, and padding."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy.fft import dctn, idctn

from lure_jax.models.shrinkage import (
    BANDS,
    FAINT,
    OPPONENT,
    REACH,
    SIDE,
    STEP,
    THRESHOLD,
    USUAL,
    Shrinking,
    analyse,
    inside,
    synthesise,
)

RNG = np.random.default_rng(0)


def planes(height, width):
    return RNG.random((1, 3, height, width)).astype(np.float32)


def test_coefficients_are_those_of_scipy():
    x = planes(32, 48)
    found = analyse(jnp.asarray(x))
    for row, column in ((0, 0), (2, 5), (4, 8)):
        window = x[0, :, row * STEP : row * STEP + SIDE, column * STEP : column * STEP + SIDE]
        np.testing.assert_allclose(found[0, :, row, :, column], dctn(window, axes=(1, 2), norm="ortho"), atol=1e-5)


def test_windows_give_back_the_image_whatever_their_weights():
    x = planes(32, 48)
    weights = inside(jnp.ones((1, 8, 12, 1)))[..., 0] * RNG.uniform(0.1, 2, (1, 8, 12))
    np.testing.assert_allclose(synthesise(analyse(jnp.asarray(x)), weights), x, atol=1e-5)


def test_a_window_counts_if_all_of_it_is_image():
    found = inside(jnp.ones((1, 8, 12, 1)))[0, :, :, 0]
    np.testing.assert_array_equal(found, np.pad(np.ones((5, 9)), ((0, 3), (0, 3))))
    valid = np.zeros((1, 8, 12, 1), np.float32)
    valid[:, :6, :7] = 1
    np.testing.assert_array_equal(inside(valid)[0, :, :, 0], np.pad(np.ones((3, 4)), ((0, 5), (0, 8))))


def test_opponent_colours_are_orthonormal_and_grey_has_none():
    np.testing.assert_allclose(OPPONENT @ OPPONENT.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(OPPONENT @ np.ones(3), [3**0.5, 0, 0], atol=1e-6)


def shrunk(image, change=lambda params: params, mask=None, share=1.0):
    """What the layer adds to an image; its network, which begins without a say, tells the same of all windows."""
    module = Shrinking()
    params = change(nn.unbox(module.init(jax.random.key(0), jnp.asarray(image, jnp.float32))))
    params["params"]["share"] += share
    return module.apply(params, jnp.asarray(image, jnp.float32), mask)


def with_bias(told, weight=0.0):
    def change(params):
        bias = jnp.full_like(params["params"]["threshold"]["bias"], told).at[-1].set(weight)
        params["params"]["threshold"]["bias"] = bias
        return params

    return change


def reference(image, threshold, sharpness=1.0):
    """The same from the formula, window by window."""
    colours = np.asarray(image[0], np.float64) @ OPPONENT.T
    total, counted = np.zeros_like(colours), np.zeros((*colours.shape[:2], 1))
    for i in range(0, colours.shape[0] - SIDE + 1, STEP):
        for j in range(0, colours.shape[1] - SIDE + 1, STEP):
            here = slice(i, i + SIDE), slice(j, j + SIDE)
            c = dctn(colours[here], axes=(0, 1), norm="ortho")
            kept = 1 / (1 + np.exp(-sharpness * (np.log(c**2 + FAINT) - threshold)))
            kept[0, 0] = 1
            total[here] += idctn((kept - 1) * c, axes=(0, 1), norm="ortho")
            counted[here] += 1
    return (total / counted) @ OPPONENT


def test_agrees_with_numpy():
    image = RNG.random((1, 32, 40, 3)).astype(np.float32) * 0.2
    for told in (-3.0, 0.4):
        expected = reference(image, THRESHOLD + USUAL[1] * told)[None]
        np.testing.assert_allclose(shrunk(image, with_bias(told, weight=1.0)), expected, atol=2e-5)


def test_it_begins_at_nought_and_flattens_noise_if_asked_to():
    noise = 0.5 + 0.02 * RNG.standard_normal((1, 48, 48, 3)).astype(np.float32)
    assert not np.any(shrunk(noise, share=0.0))
    left = noise + shrunk(noise)
    assert np.std(left[:, 16:32, 16:32]) < 0.3 * np.std(noise)
    np.testing.assert_allclose(shrunk(noise, share=0.5), 0.5 * shrunk(noise), atol=1e-6)


def test_a_coefficient_has_its_own_sharpness_and_threshold():
    image = RNG.random((1, 32, 32, 3)).astype(np.float32) * 0.2

    def change(params):
        own = params["params"]
        own["sharpness"], own["more"] = 4 * own["sharpness"], own["more"] - 0.2
        return params

    expected = reference(image, THRESHOLD - USUAL[1] * 0.2, sharpness=4.0)[None]
    np.testing.assert_allclose(shrunk(image, change), expected, atol=2e-5)


def test_a_high_threshold_leaves_the_means_of_windows_and_a_low_one_the_image():
    image = RNG.random((1, 48, 48, 3)).astype(np.float32)
    means = np.lib.stride_tricks.sliding_window_view(image[0], (SIDE, SIDE), (0, 1))[::STEP, ::STEP].mean((-2, -1))
    left = image + np.asarray(jax.device_get(shrunk(image, with_bias(50.0))))
    # the windows that hold the pixel 24, 24 begin at 12, 16, 20 and 24
    around = means[24 // STEP - REACH + 1 : 24 // STEP + 1, 24 // STEP - REACH + 1 : 24 // STEP + 1]
    np.testing.assert_allclose(left[0, 24, 24], around.mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(shrunk(image, with_bias(-50.0)), 0, atol=1e-5)


def test_padding_does_not_count():
    image = RNG.random((1, 24, 40, 3)).astype(np.float32)
    beyond = ((0, 0), (0, 8), (0, 16), (0, 0))
    mask = np.pad(np.ones((1, 24, 40, 1), np.float32), beyond)

    def told(params):  # by the network, from the mean energies over the image
        kernel = params["params"]["threshold"]["kernel"]
        params["params"]["threshold"]["kernel"] = 0.05 * jax.random.normal(jax.random.key(2), kernel.shape)
        return params

    padded = shrunk(np.pad(image, beyond, constant_values=1), told, mask)[:, :24, :40]
    np.testing.assert_allclose(padded, shrunk(image, told), atol=1e-5)


def test_sides_need_not_be_multiples_of_four():
    image = RNG.random((1, 34, 46, 3)).astype(np.float32) * 0.2
    found = shrunk(image)
    np.testing.assert_allclose(found[:, :32, :44], shrunk(image[:, :32, :44]), atol=2e-5)
    assert not np.any(found[:, 32:]) and not np.any(found[:, :, 44:])  # no window reaches there


def test_an_image_smaller_than_a_window_stays():
    assert not np.any(shrunk(RNG.random((1, 8, 8, 3))))


def test_bands_cover_all_frequencies():
    assert sum(BANDS) == SIDE
