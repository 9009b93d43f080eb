"""Files of every kind through `lure fuse`: alpha, orientation, metadata, tone, alignment, memory."""

import pathlib

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import ExifTags, Image, ImageCms
from random_model import save_random_model

from lure_jax.cli import main
from lure_jax.data import own_pairs, tonemap
from lure_jax.inference import images
from lure_jax.inference.fuser import Fuser

IMAGES = pathlib.Path(__file__).resolve().parents[1] / "docs" / "images"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_random_model(tmp_path_factory.mktemp("cli_images") / "model")


def _fuse(model, folder, *more):
    arguments = ["fuse", "--visible", folder / "v.png", "--infrared", folder / "i.png", "--output", folder / "o.png"]
    result = CliRunner().invoke(main, [str(a) for a in (*arguments, "--model", model, *more)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_both_images_are_turned_alpha_and_metadata_kept(model, tmp_path):
    rgba = RNG.integers(0, 256, (40, 30, 4), np.uint8)  # upright: 40x30 after the turn
    grey = RNG.integers(0, 256, (40, 30), np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Artist] = 6, "A. Person"
    Image.fromarray(np.ascontiguousarray(np.rot90(rgba))).save(tmp_path / "v.png", exif=exif, icc_profile=PROFILE)
    exif[ExifTags.Base.Orientation] = 3
    Image.fromarray(np.ascontiguousarray(np.rot90(grey, 2))).save(tmp_path / "i.png", exif=exif)
    assert _fuse(model, tmp_path, "--prompt", "clean").exit_code == 0
    with Image.open(tmp_path / "o.png") as stored:
        assert stored.mode == "RGBA" and stored.info["icc_profile"] == PROFILE
        assert stored.getexif()[ExifTags.Base.Artist] == "A. Person"
        assert stored.getexif().get(ExifTags.Base.Orientation, 1) == 1
        fused = np.asarray(stored)
    np.testing.assert_array_equal(fused[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(fused[..., :3], Fuser.load(model).fuse(rgba[..., :3], grey, "clean"))


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_radiometric_files_are_mapped_by_tone(model, tmp_path, kind):
    frame = RNG.normal(300, 10, (40, 30)).astype(kind)
    Image.fromarray(RNG.integers(0, 256, (40, 30, 3), np.uint8)).save(tmp_path / "v.png")
    Image.fromarray(frame).save(tmp_path / "i.tif")
    (tmp_path / "i.tif").rename(tmp_path / "i.png")  # Pillow looks at the content
    assert _fuse(model, tmp_path, "--prompt", "clean", "--tone", "290:310").exit_code == 0
    visible = images.read(tmp_path / "v.png", "visible")
    expected = Fuser.load(model).fuse(visible, tonemap.fixed(290, 310)(frame), "clean")
    np.testing.assert_array_equal(images.read(tmp_path / "o.png", "visible"), expected)
    result = _fuse(model, tmp_path, "--overwrite", "--tone", "warm")
    assert result.exit_code == 2 and "'warm'" in result.output


def _rig(folder):
    """The scene of the docs seen by an infrared camera of another size that looks a little aside."""
    visible, infrared = (Image.open(IMAGES / f"{name}.png").resize((320, 240)) for name in ("visible", "infrared"))
    visible.convert("RGB").crop((0, 0, 300, 230)).save(folder / "v.png")
    infrared.convert("L").crop((12, 9, 320, 240)).resize((231, 173)).save(folder / "i.png")


@pytest.mark.slow
def test_images_of_two_sizes_are_one_sentence_and_align_brings_them_together(model, tmp_path):
    _rig(tmp_path)
    result = _fuse(model, tmp_path)
    assert result.exit_code == 2 and len(result.output.strip().splitlines()) == 1
    for words in ("300x230", "231x173", "--align", "lure data align"):
        assert words in result.output
    assert _fuse(model, tmp_path, "--align", "--prompt", "clean").exit_code == 0
    for role, name in (("visible", "v"), ("infrared", "i")):
        (tmp_path / role).mkdir()
        (tmp_path / role / "a.png").write_bytes((tmp_path / f"{name}.png").read_bytes())
    told = own_pairs.align(tmp_path / "visible", tmp_path / "infrared", tmp_path / "aligned")
    assert told["a"]["status"] == "aligned"
    pair = (images.read(tmp_path / "aligned" / role / "a.png", role) for role in ("visible", "infrared"))
    fused = images.read(tmp_path / "o.png", "visible")
    assert fused.shape[1] == pytest.approx(288, abs=6)  # 300 less the 12 that the other camera does not see
    expected = Fuser.load(model).fuse(*pair, "clean")
    assert np.abs(fused.astype(int) - expected).max() <= 1  # rounding of the pose's last bits


def test_an_alignment_that_is_not_to_be_trusted_is_an_error_of_that_pair(model, tmp_path):
    Image.fromarray(RNG.integers(0, 256, (96, 128, 3), np.uint8)).save(tmp_path / "v.png")
    Image.fromarray(RNG.integers(0, 256, (96, 120), np.uint8)).save(tmp_path / "i.png")
    result = _fuse(model, tmp_path, "--align")
    assert result.exit_code == 2 and "v.png" in result.output and "could not be aligned" in result.output
    assert not (tmp_path / "o.png").exists()


def test_a_memory_that_is_too_little_and_options_of_videos_are_said(model, tmp_path):
    Image.fromarray(RNG.integers(0, 256, (40, 30, 3), np.uint8)).save(tmp_path / "v.png")
    Image.fromarray(RNG.integers(0, 256, (40, 30), np.uint8)).save(tmp_path / "i.png")
    for options, words in (
        (("--memory", "50MB"), "too little"),
        (("--memory", "lots"), "'lots'"),
        (("--offset", "1"), "--offset is for videos"),
    ):
        result = _fuse(model, tmp_path, *options)
        assert result.exit_code == 2 and words in result.output, result.output
    assert _fuse(model, tmp_path, "--memory", "2GB").exit_code == 0
