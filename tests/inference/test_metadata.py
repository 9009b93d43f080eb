"""What stands in an image file beside the pixels survives, and what no longer holds does not."""

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from lure_jax.inference import images

RNG = np.random.default_rng(0)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BASE, GPS = ExifTags.Base, ExifTags.IFD.GPSInfo


def _exif(orientation=1):
    exif = Image.Exif()
    exif[BASE.Orientation], exif[BASE.Make], exif[BASE.DateTime] = orientation, "Maker", "2024:05:06 07:08:09"
    exif.get_ifd(ExifTags.IFD.Exif).update({BASE.ExposureTime: 0.25, BASE.ExifImageWidth: 9})
    exif.get_ifd(GPS).update({1: "N", 2: (48.0, 8.0, 0.0)})
    return exif


@pytest.fixture
def original(tmp_path):
    path = tmp_path / "original.jpg"
    Image.fromarray(RNG.integers(0, 256, (6, 9, 3), np.uint8)).save(path, exif=_exif(6), icc_profile=PROFILE)
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_tags_and_profile_are_kept_in_every_format(tmp_path, original, suffix, dtype, channels):
    path = tmp_path / f"x.{suffix}"
    image = RNG.integers(0, np.iinfo(dtype).max, (9, 6, channels), dtype)
    images.write(path, image, images.described(original))
    with Image.open(path) as stored:
        stored.load()
        exif = stored.getexif()
        assert exif[BASE.Make] == "Maker" and exif[BASE.DateTime] == "2024:05:06 07:08:09"
        assert float(exif.get_ifd(ExifTags.IFD.Exif)[BASE.ExposureTime]) == 0.25
        assert [float(value) for value in exif.get_ifd(GPS)[2]] == [48, 8, 0]
        assert exif.get(BASE.Orientation, 1) == 1 and BASE.ExifImageWidth not in exif.get_ifd(ExifTags.IFD.Exif)
        assert stored.info["icc_profile"] == PROFILE
    back = images.read(path, "visible", alpha=True)
    if suffix in ("png", "tif"):
        np.testing.assert_array_equal(back, image)
    if suffix == "png" or dtype == np.uint16 and suffix == "tif":  # partly written by hand
        other = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(other[..., [2, 1, 0, 3][:channels]], image)
    assert back.shape == (9, 6, 3 if suffix == "jpg" else channels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_with_alpha(tmp_path, dtype):
    image = RNG.integers(0, np.iinfo(dtype).max, (6, 9, 2), dtype)
    images.write(tmp_path / "x.png", image)
    back = images.read(tmp_path / "x.png", "visible", alpha=True)
    np.testing.assert_array_equal(back[..., 0], image[..., 0])
    np.testing.assert_array_equal(back[..., -1], image[..., 1])
    images.write(tmp_path / "x.jpg", image)
    assert images.read(tmp_path / "x.jpg", "visible").shape == (6, 9)


def test_a_tiff_gives_its_descriptions_and_not_its_layout(tmp_path):
    Image.fromarray(RNG.integers(0, 256, (6, 9, 3), np.uint8)).save(tmp_path / "a.tif", exif=_exif())
    images.write(tmp_path / "b.jpg", np.zeros((4, 4, 3), np.uint8), images.described(tmp_path / "a.tif"))
    exif = Image.open(tmp_path / "b.jpg").getexif()
    assert exif[BASE.Make] == "Maker" and not {BASE.ImageWidth, BASE.StripOffsets, BASE.Compression} & set(exif)


def test_a_profile_for_other_colours_is_left_out(tmp_path, original):
    images.write(tmp_path / "grey.png", np.zeros((4, 4), np.uint8), images.described(original))
    assert "icc_profile" not in Image.open(tmp_path / "grey.png").info


def test_more_notes_than_a_jpeg_holds_are_left_out(tmp_path):
    exif = _exif()
    exif.get_ifd(ExifTags.IFD.Exif)[BASE.MakerNote] = bytes(70_000)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png", exif=exif)
    images.write(tmp_path / "b.jpg", np.zeros((4, 4, 3), np.uint8), images.described(tmp_path / "a.png"))
    assert Image.open(tmp_path / "b.jpg").getexif()[BASE.Make] == "Maker"


def test_a_file_without_any_gets_none(tmp_path):
    images.write(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint16))
    assert images.described(tmp_path / "a.png") == (b"", b"")


def test_palettes_and_colour_keys_have_alpha(tmp_path):
    Image.fromarray(RNG.integers(0, 2, (6, 9), np.uint8), "L").convert("P").save(tmp_path / "p.png", transparency=0)
    assert images.read(tmp_path / "p.png", "visible", alpha=True).shape == (6, 9, 4)
    Image.fromarray(np.eye(6, dtype=np.uint8)).save(tmp_path / "l.png", transparency=0)
    back = images.read(tmp_path / "l.png", "visible", alpha=True)
    np.testing.assert_array_equal(back[..., 1] == 0, np.eye(6) == 0)
    assert images.read(tmp_path / "l.png", "infrared").shape == (6, 6)
