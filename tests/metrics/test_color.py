"""Colour spaces against closed forms."""

import jax
import numpy as np
import pytest

from lure_jax.metrics.color import luma, rgb_to_ycbcr, with_chroma, ycbcr_to_rgb


@pytest.mark.parametrize(
    "rgb, ycbcr",
    [
        ((0, 0, 0), (0, 0.5, 0.5)),
        ((1, 1, 1), (1, 0.5, 0.5)),
        ((1, 0, 0), (0.299, 0.5 - 0.299 / 1.772, 1.0)),
        ((0, 0, 1), (0.114, 1.0, 0.5 - 0.114 / 1.402)),
    ],
)
def test_corners_of_the_cube(rgb, ycbcr):
    np.testing.assert_allclose(rgb_to_ycbcr(np.float32(rgb)), ycbcr, atol=1e-6)


def test_round_trip_and_luma():
    rgb = jax.random.uniform(jax.random.key(0), (2, 5, 6, 3))
    ycbcr = rgb_to_ycbcr(rgb)
    np.testing.assert_allclose(ycbcr_to_rgb(ycbcr), rgb, atol=1e-6)
    np.testing.assert_allclose(ycbcr[..., 0], luma(rgb))


def test_chroma_of_another_image_and_half_of_it():
    rng = np.random.default_rng(0)
    image, other = (rng.random((3, 4, 5, 3), np.float32) for _ in range(2))
    mixed = rgb_to_ycbcr(with_chroma(image, other, np.float32([0, 0.5, 1])))
    own, others = (np.asarray(rgb_to_ycbcr(rgb)) for rgb in (image, other))
    np.testing.assert_allclose(mixed[..., 0], own[..., 0], atol=1e-5)
    expected = np.stack([own[0], (own[1] + others[1]) / 2, others[2]])
    np.testing.assert_allclose(mixed[..., 1:], expected[..., 1:], atol=1e-5)
