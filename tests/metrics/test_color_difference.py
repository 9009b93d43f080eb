"""CIEDE2000 against the published test data of Sharma, Wu and Dalal."""

import jax
import jax.numpy as jnp
import numpy as np

from lure_jax.metrics import color_difference
from lure_jax.metrics.color_difference import srgb_to_lab

ciede2000, delta_e = jax.jit(color_difference.ciede2000), jax.jit(color_difference.delta_e)

SHARMA = [  # the pairs that exercise every branch: hue across 0, grey, discontinuities, blue rotation
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
    ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
]


def test_published_pairs():
    first, second, expected = (np.float32(column) for column in zip(*SHARMA, strict=True))
    np.testing.assert_allclose(ciede2000(first, second), expected, atol=2e-4)
    np.testing.assert_allclose(ciede2000(second, first), expected, atol=2e-4)


def test_black_white_and_equal():
    black = jnp.zeros((1, 3, 4, 3))
    np.testing.assert_allclose(srgb_to_lab(black + 1)[0, 0, 0], [100, 0, 0], atol=1e-3)
    np.testing.assert_allclose(delta_e(black, black + 1), 100, rtol=1e-5)
    assert float(delta_e(black + 0.3, black + 0.3)[0]) == 0


def test_padding_does_not_count():
    rgb = jnp.asarray(np.random.default_rng(0).random((2, 1, 6, 7, 3)), jnp.float32)
    padded = jnp.pad(rgb, ((0, 0), (0, 0), (0, 3), (0, 2), (0, 0)), constant_values=0.7)
    mask = jnp.zeros((1, 9, 9), bool).at[:, :6, :7].set(True)
    np.testing.assert_allclose(
        delta_e(padded[0], padded[1].at[:, 6:].set(jnp.nan), mask), delta_e(rgb[0], rgb[1]), rtol=1e-6
    )
