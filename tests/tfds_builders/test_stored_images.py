"""What is stored of an image file, and what is refused."""

import io

import numpy as np
import pytest
from etils import epath
from PIL import Image

from tfds_builders.files import DataError
from tfds_builders.images import stored_image


def decoded(stored):
    return np.asarray(Image.open(io.BytesIO(stored.data)))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
@pytest.mark.parametrize(("mode", "kind"), [("RGB", "colour"), ("L", "colour"), ("L", "grey")])
def test_bytes_are_kept_where_the_mode_fits(tmp_path, paint, suffix, mode, kind):
    if (suffix, mode) == ("webp", "L"):
        pytest.skip("WebP has no grey mode")
    paint(f"a.{suffix}", mode)
    stored = stored_image(epath.Path(tmp_path / f"a.{suffix}"), kind)
    assert stored.data == (tmp_path / f"a.{suffix}").read_bytes()
    assert stored.size == (8, 6)


def test_colour_infrared_becomes_luma(tmp_path, paint):
    pixels = paint("a.png", "RGB")
    grey = decoded(stored_image(epath.Path(tmp_path / "a.png"), "grey"))
    assert grey.shape == (6, 8)
    np.testing.assert_allclose(grey, pixels @ [0.299, 0.587, 0.114], atol=1)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_cut_at_their_percentiles(tmp_path, suffix):
    values = np.linspace(20_000, 24_000, 2000).round().astype(np.uint16).reshape(40, 50)
    values[0, 0] = 65_535  # a dead pixel
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    stored = stored_image(epath.Path(tmp_path / f"a.{suffix}"), "grey")
    assert stored.tone.method == "percentile"
    low, high = stored.tone.values
    assert 20_000 <= low < 20_020 and 23_980 < high <= 24_000
    expected = np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(decoded(stored), expected, atol=0.51)
    shared = stored_image(epath.Path(tmp_path / f"a.{suffix}"), "grey", tone="0:65535")
    np.testing.assert_allclose(decoded(shared), values / 257, atol=0.51)


def test_constant_sixteen_bit_image_is_no_division_by_zero(tmp_path):
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(tmp_path / "a.png")
    assert decoded(stored_image(epath.Path(tmp_path / "a.png"), "grey")).max() == 0


def test_float_with_nan_is_refused(tmp_path):
    Image.fromarray(np.array([[0.0, np.nan]], np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match=r"a\.tiff holds values that are not finite"):
        stored_image(epath.Path(tmp_path / "a.tiff"), "grey")


def test_sixteen_bit_colour_is_reduced_as_pillow_does(tmp_path):
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(0).integers(0, 65_536, (6, 8, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    stored = stored_image(epath.Path(tmp_path / "a.png"), "colour")
    assert decoded(stored).dtype == np.uint8
    np.testing.assert_allclose(decoded(stored), pixels / 257, atol=1)


def test_transparency_and_rotation_are_resolved(tmp_path, paint):
    pixels = paint("a.png")
    Image.fromarray(np.dstack([pixels, pixels[..., 0]])).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(decoded(stored_image(epath.Path(tmp_path / "alpha.png"), "colour")), pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    turned = stored_image(epath.Path(tmp_path / "turned.png"), "colour")
    assert turned.size == (6, 8)
    np.testing.assert_array_equal(decoded(turned), np.rot90(pixels, -1))


def test_labels_keep_palette_indices(tmp_path):
    numbers = np.array([[0, 1], [8, 255]], np.uint8)
    image = Image.fromarray(numbers, mode="P")
    image.putpalette([9, 9, 9] * 256)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(decoded(stored_image(epath.Path(tmp_path / "a.png"), "labels")), numbers)


def test_colour_labels_are_refused(tmp_path, paint):
    paint("a.png", "RGB")
    with pytest.raises(DataError, match=r"a\.png is no label map"):
        stored_image(epath.Path(tmp_path / "a.png"), "labels")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello", "is no image"),
        (b"truncated", "is not a readable image"),
        (None, "is not a readable image"),
    ],
)
def test_unreadable_files_are_named(tmp_path, paint, content, message):
    path = tmp_path / "a.png"
    if content == b"truncated":
        paint("a.png", size=(64, 64))
        content = path.read_bytes()[:5000]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.png {message}"):
        stored_image(epath.Path(path), "colour")
