"""Statistics of natural images: closed forms for noise and stripes, and no trace of padding."""

import numpy as np
import pytest

from lure_jax.models.scene_statistics import FLOOR, LEVELS, neighbours, roughness, scene_statistics

SD = 0.05
MEAN_DIFFERENCE = 2 * SD / np.sqrt(np.pi)  # of two independent normal numbers
_AT = np.linspace(0, 10, 10**6)  # standard deviations
_DENSITY = np.exp(-(_AT**2) / 2) / np.exp(-(_AT**2) / 2).sum()
MEAN_LOG = (_DENSITY * np.log(SD * np.sqrt(2) * _AT + FLOOR)).sum()


@pytest.fixture(scope="module")
def noise():
    return (0.5 + np.random.default_rng(0).normal(0, SD, (1, 256, 256, 1))).astype(np.float32)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("every", [1, 4])
def test_white_noise_has_the_differences_of_the_formula(noise, axis, every):
    of_mean, of_log = roughness(*neighbours(noise, axis, every), None)
    assert float(of_mean[0, 0]) == pytest.approx(np.log(MEAN_DIFFERENCE + FLOOR), abs=0.03)
    assert float(of_log[0, 0]) == pytest.approx(MEAN_LOG, abs=0.05)


def test_an_edge_raises_the_mean_and_not_the_logarithm():
    edge = np.where(np.arange(64) < 32, 0.1, 0.9)[None, None, :, None] * np.ones((1, 64, 64, 1))
    of_mean, of_log = roughness(*neighbours(edge, 2), None)
    assert float(of_mean[0, 0]) == pytest.approx(np.log(0.8 / 63 + FLOOR), abs=1e-3)
    assert float(of_log[0, 0]) < np.log(FLOOR) + 0.2


def test_stripes_show_in_the_column_means_alone():
    columns = 0.5 + np.random.default_rng(0).normal(0, SD, (1, 1, 128, 1)) * np.ones((1, 128, 1, 3))
    striped = np.asarray(scene_statistics(columns.astype(np.float32), None))[0]
    turned = np.asarray(scene_statistics(columns.transpose(0, 2, 1, 3).astype(np.float32), None))[0]
    # Per scale and axis six numbers, after those of the finest scale two of the profile
    rows, row_profile, cols, column_profile = striped[:6], striped[6:8], striped[8:14], striped[14:16]
    assert np.allclose(row_profile, np.log(FLOOR), atol=1e-3) and np.allclose(rows[[0, 3]], np.log(FLOOR), atol=1e-3)
    assert column_profile[0] == pytest.approx(np.log(MEAN_DIFFERENCE + FLOOR), abs=0.15)
    assert cols[0] == pytest.approx(column_profile[0], abs=0.15)
    assert np.allclose(turned[6:8], column_profile, atol=1e-5)


def test_the_distribution_is_that_of_luma_least_and_greatest_colour():
    image = np.random.default_rng(0).random((1, 64, 96, 3), np.float32)
    image[:, 40:] = 1.0
    sample = image[0, ::4, ::4]
    lightness = (sample @ np.array([0.299, 0.587, 0.114]), sample.min(-1), sample.max(-1))
    expected = [[(values < level).mean() for values in lightness] for level in LEVELS]
    found = np.asarray(scene_statistics(image, None))[0, 40:-12]
    np.testing.assert_allclose(found.reshape(-1, 3), expected, atol=1e-5)


def test_one_hot_spot_is_in_the_extremes():
    image = np.full((1, 64, 96, 3), 0.4, np.float32)
    image[:, 20:24, 40:44] = 0.9
    image[:, 40:42, 8:10] = 0.0  # a quarter of a block at the coarsest scale
    np.testing.assert_allclose(scene_statistics(image, None)[0, -2:], (0.3, 0.9), atol=1e-6)


def test_any_size_has_finite_statistics():
    for size in ((1, 1), (4, 12), (9, 8)):
        assert np.isfinite(scene_statistics(np.full((1, *size, 3), 0.5, np.float32), None)).all()


def test_padding_leaves_no_trace():
    image = np.random.default_rng(0).random((2, 48, 64, 3), np.float32)
    mask = np.zeros((2, 64, 80, 1), np.float32)
    mask[:, :48, :64] = 1
    padded = np.pad(image, ((0, 0), (0, 16), (0, 16), (0, 0)), constant_values=0.3)
    np.testing.assert_allclose(scene_statistics(image, None), scene_statistics(padded, mask), atol=1e-5)
