"""Image files of every kind people have, and those that are none."""

import cv2
import numpy as np
import pytest
from PIL import Image

from lure_jax.inference import images

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 9, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9, 3), np.uint16)


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff", "PNG"])
@pytest.mark.parametrize("image", [COLOUR, COLOUR[..., 0], DEEP, DEEP[..., 0]], ids=["rgb", "grey", "rgb16", "grey16"])
def test_lossless_files_round_trip(tmp_path, suffix, image):
    path = tmp_path / "new" / f"x.{suffix}"
    images.write(path, image)
    back = images.read(path, "visible")
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back, image)
    assert images.size(path) == (6, 9) and [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_a_size_or_offset_with_sixteen_in_it_is_not_sixteen_bits(tmp_path, suffix):
    for shape in ((16, 1616, 3), (1600, 16, 3), (16, 161)):
        images.write(tmp_path / f"x.{suffix}", np.full(shape, 77, np.uint8))
        read = images.read(tmp_path / f"x.{suffix}", "visible")
        assert read.dtype == np.uint8 and read.shape[:2] == shape[:2] and abs(int(read[5, 5].max()) - 77) < 3


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_lossy_files_hold_eight_bits(tmp_path, suffix, dtype):
    smooth = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    image = np.stack([smooth, smooth.T, 1 - smooth], -1)
    stored = image.astype(dtype) if dtype == np.float32 else np.round(image * np.iinfo(dtype).max).astype(dtype)
    images.write(tmp_path / f"x.{suffix}", stored)
    back = images.read(tmp_path / f"x.{suffix}", "visible")
    assert back.dtype == np.uint8 and np.abs(back / 255 - image).mean() < 0.01


def test_floats_are_stored_with_sixteen_bits(tmp_path):
    images.write(tmp_path / "x.png", np.array([[0.0, 0.5, 1.0]], np.float32))
    assert images.read(tmp_path / "x.png", "visible").tolist() == [[0, 32768, 65535]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_exif_orientation_is_applied(tmp_path, orientation, deep):
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[0, :, 0], upright[:, 0, 1] = 255, 128  # red on top, green on the left
    # Rotations and mirrors that a camera applied when it stored the picture, by the EXIF standard.
    store = [lambda a: a, np.fliplr, lambda a: np.rot90(a, 2), np.flipud, lambda a: a.transpose(1, 0, 2)]
    store += [np.rot90, lambda a: np.rot90(a, 2).transpose(1, 0, 2), lambda a: np.rot90(a, -1)]
    stored = np.ascontiguousarray(store[orientation - 1](upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "x.png"
    Image.fromarray(stored).save(path, exif=exif)
    if deep:
        chunks = path.read_bytes()
        start = chunks.index(b"eXIf") - 4
        chunk = chunks[start : start + 12 + int.from_bytes(chunks[start : start + 4], "big")]
        encoded = cv2.imencode(".png", stored[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
        path.write_bytes(encoded[:33] + chunk + encoded[33:])
        upright = upright.astype(np.uint16) * 257
    np.testing.assert_array_equal(images.read(path, "visible"), upright)
    assert images.size(path) == (4, 6)


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("RGBA", (6, 9, 3)), ("LA", (6, 9)), ("1", (6, 9)), ("P", (6, 9, 3)), ("L", (6, 9)), ("CMYK", (6, 9, 3))],
)
def test_modes_become_grey_or_colour(tmp_path, mode, shape):
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.fromarray(COLOUR).convert(mode).save(path)
    assert images.read(path, "visible").shape == shape
    assert images.read(path, "infrared").shape == (6, 9)


def test_alpha_is_dropped_without_touching_the_colours(tmp_path):
    for dtype in (np.uint8, np.uint16):
        rgba = RNG.integers(0, np.iinfo(dtype).max, (6, 9, 4), dtype)
        cv2.imwrite(str(tmp_path / "x.png"), rgba)
        np.testing.assert_array_equal(images.read(tmp_path / "x.png", "visible"), rgba[..., 2::-1])


def test_sixteen_bit_thermal_frames_stay_as_stored_and_float_ones_are_stretched(tmp_path):
    frame = np.linspace(7000, 8000, 64).reshape(8, 8)
    Image.fromarray(frame.astype(np.uint16)).save(tmp_path / "x.tif")
    np.testing.assert_array_equal(images.read(tmp_path / "x.tif", "infrared"), frame.astype(np.uint16))
    for values in ((frame / 100 - 20).astype(np.float32), frame.astype(np.int32) * 100):
        Image.fromarray(values).save(tmp_path / "x.tif")
        read = images.read(tmp_path / "x.tif", "infrared")
        assert read.dtype == np.float32 and read.min() == 0 and read.max() == 1
        np.testing.assert_allclose(read, np.linspace(0, 1, 64).reshape(8, 8), atol=2e-3)


def test_infrared_stored_as_colour_is_read_as_luma(tmp_path):
    images.write(tmp_path / "x.png", DEEP)
    expected = DEEP @ np.array([0.299, 0.587, 0.114])
    assert np.abs(images.read(tmp_path / "x.png", "infrared") - expected).max() < 0.6


def _float_tiff(path, values):
    Image.fromarray(np.array([values], np.float32)).save(path)


def _cut(path):
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize(
    ("name", "make", "modality", "message"),
    [
        ("a.png", lambda path: None, "visible", "does not exist"),
        ("a.png", lambda path: path.mkdir(), "visible", "is a folder"),
        ("a.png", lambda path: path.touch(), "visible", "is empty"),
        ("a.png", lambda path: path.write_text("hello, I am a text"), "visible", "is not an image"),
        ("a.png", _cut, "visible", "cannot be read as an image"),
        ("a.tif", lambda path: _float_tiff(path, [0.1, np.nan]), "infrared", "not finite"),
        ("a.tif", lambda path: _float_tiff(path, [0.1, np.inf]), "visible", "not finite"),
        ("a.tif", lambda path: _float_tiff(path, [0, 300]), "visible", "values from 0 to 300"),
    ],
)
def test_unusable_files_are_named_in_one_sentence(tmp_path, name, make, modality, message):
    make(tmp_path / name)
    with pytest.raises(images.ImageError, match=message) as caught:
        images.read(tmp_path / name, modality)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_a_float_visible_image_in_range_is_taken(tmp_path):
    _float_tiff(tmp_path / "a.tif", [0.25, 1])
    assert images.read(tmp_path / "a.tif", "visible").tolist() == [[0.25, 1]]


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "folder").touch()
    with pytest.raises(images.ImageError, match="cannot be written"):
        images.write(tmp_path / "folder" / "x.png", COLOUR)
    with pytest.raises(images.ImageError, match="cannot be written"):
        images.write(tmp_path / "x.gibberish", COLOUR)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
