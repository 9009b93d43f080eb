"""Arrays as users hold them, into the network's form and back."""

import io

import numpy as np
import pytest
from etils import epath
from PIL import Image

from lure_jax.data.tonemap import fit
from lure_jax.inference.arrays import from_unit, stretch, to_unit
from tfds_builders.images import stored_image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3), (2, 5, 4, 1), (2, 5, 4, 3), (1, 1)])
def test_visible_round_trip_is_exact(dtype, shape):
    rng = np.random.default_rng(0)
    real = np.issubdtype(dtype, np.floating)
    image = rng.random(shape).astype(dtype) if real else rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype)
    unit, form = to_unit(image, "visible")
    back = from_unit(unit, form)
    assert unit.dtype == np.float32 and unit.shape[-1] == 3 and unit.ndim == 4
    assert back.dtype == dtype and back.shape == shape
    np.testing.assert_allclose(back.astype(float), image.astype(float), rtol=2e-7 if dtype != np.float16 else 1e-3)
    if dtype in (np.uint8, np.uint16):
        np.testing.assert_array_equal(back, image)


def test_infrared_stored_as_colour_is_its_luma():
    image = np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]], np.float32)
    np.testing.assert_allclose(to_unit(image, "infrared")[0][0, 0, :, 0], [0.299, 0.587, 0.114])


def test_a_grey_form_gets_the_luma_of_a_colour_result():
    _, form = to_unit(np.zeros((1, 1), np.uint8), "visible")
    assert from_unit(np.array([[[[1.0, 0.0, 0.0]]]], np.float32), form).tolist() == [[76]]


def test_sixteen_bit_thermal_frames_are_stretched_each_on_its_own_and_visible_ones_are_not():
    narrow = np.linspace(7000, 8000, 64 * 64).reshape(64, 64).astype(np.uint16)
    batch = np.stack([narrow, narrow * 4])[..., None]
    unit, _ = to_unit(batch, "infrared")
    assert unit.min() == 0 and unit.max() == 1 and abs(np.median(unit) - 0.5) < 0.01
    np.testing.assert_allclose(unit[0], unit[1], atol=1e-4)
    assert to_unit(narrow, "visible")[0].max() == pytest.approx(8000 / 65535)


@pytest.mark.parametrize("tone", ["percentile", "plateau", "7000:9000"])
def test_thermal_frames_are_mapped_as_the_builders_do(tone, tmp_path):
    frame = np.random.default_rng(0).normal(8000, 60, (20, 30)).astype(np.uint16)
    Image.fromarray(frame).save(tmp_path / "a.png")
    stored = stored_image(epath.Path(tmp_path / "a.png"), "grey", tone)
    unit, _ = to_unit(frame, "infrared", fit(tone))
    np.testing.assert_array_equal(np.round(255 * unit[0, ..., 0]), np.asarray(Image.open(io.BytesIO(stored.data))))
    np.testing.assert_array_equal(unit, to_unit(frame, "infrared", fit(stored.tone))[0])


def test_stretching_goes_between_the_percentiles_and_survives_dead_pixels():
    values = np.arange(100_000, dtype=np.float32)
    values[0], values[1] = -1e9, 1e9
    stretched = stretch(values)
    assert stretched[50_000] == pytest.approx(0.5, abs=1e-3) and stretched.min() == 0 and stretched.max() == 1


def test_a_flat_thermal_frame_keeps_its_value():
    assert to_unit(np.full((1, 1), 13107, np.uint16), "infrared")[0].item() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((2, 2), np.nan), "visible image holds values that are not finite numbers"),
        (np.full((2, 2), np.inf), "not finite"),
        (np.full((2, 2), 1.5), r"values from 1.5 to 1.5; floats must lie in \[0, 1\]"),
        (np.full((2, 2), -0.1), "values from -0.1"),
        (np.zeros((2, 2), np.int32), "is int32; uint8, uint16 or floats"),
        (np.zeros((2, 2), bool), "is bool"),
        (np.zeros((2, 2, 5)), r"shape \(2, 2, 5\)"),
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((0, 3)), "is empty"),
        (np.zeros((1, 2, 2, 2, 3)), "shape"),
    ],
)
def test_what_cannot_be_used_is_said(image, message):
    with pytest.raises(ValueError, match=message):
        to_unit(image, "visible")
