"""`lure` as a user meets it: exit codes, messages, and what lies on disk afterwards."""

import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from random_model import save_random_model

from lure_jax.cli import main
from lure_jax.inference import images
from lure_jax.inference.fuser import Fuser

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_random_model(tmp_path_factory.mktemp("cli") / "model")


def _lure(*arguments):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def _fuse(model, visible, infrared, output, *more):
    return _lure("fuse", "--visible", visible, "--infrared", infrared, "--output", output, "--model", model, *more)


def _draw(path, dtype=np.uint8, size=(30, 40), channels=3):
    shape = (*size, channels) if channels > 1 else size
    images.write(path, RNG.integers(0, np.iinfo(dtype).max, shape, dtype))
    return path


def _says(result, *words):
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert str(word) in result.output, result.output


def test_help_comes_without_jax_and_at_once():
    start = time.perf_counter()
    code = "import sys, lure_jax.cli as c; c.main(['--help'], standalone_mode=False); print('jax' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.endswith("False\n") and "fuse" in output
    assert time.perf_counter() - start < 2  # 0.1 s on an idle machine; the import above is what must not come back


def test_fusing_two_files_is_what_the_fuser_gives(model, tmp_path):
    visible, infrared = _draw(tmp_path / "v.png"), _draw(tmp_path / "i.png", channels=1)
    result = _fuse(model, visible, infrared, tmp_path / "new" / "out.png", "--prompt", "dark, thermal has stripes")
    assert result.exit_code == 0 and "1 image written" in result.output
    pair = images.read(visible, "visible"), images.read(infrared, "infrared")
    expected = Fuser.load(model).fuse(*pair, "dark, thermal has stripes")
    np.testing.assert_array_equal(images.read(tmp_path / "new" / "out.png", "visible"), expected)


def test_sixteen_bits_in_sixteen_bits_out(model, tmp_path):
    visible = _draw(tmp_path / "v.tif", np.uint16)
    infrared = _draw(tmp_path / "i.tif", np.uint16, channels=1)
    assert _fuse(model, visible, infrared, tmp_path / "o.tif").exit_code == 0
    fused = images.read(tmp_path / "o.tif", "visible")
    assert fused.dtype == np.uint16 and fused.shape == (30, 40, 3)
    assert len(np.unique(fused % 257)) > 100  # not 8 bits in disguise


def test_a_narrow_sixteen_bit_thermal_frame_is_seen(model, tmp_path):
    """Radiometric counts 7000..7500 of 65535 must act like the same picture over the full range."""
    visible = _draw(tmp_path / "v.png")
    wide = RNG.random((30, 40))
    for name, low, high in (("narrow", 7000, 7500), ("wide", 0, 65535)):
        Image.fromarray((low + wide * (high - low)).astype(np.uint16)).save(tmp_path / f"{name}.tif")
        assert _fuse(model, visible, tmp_path / f"{name}.tif", tmp_path / f"{name}.png").exit_code == 0
    narrow, full = (images.read(tmp_path / f"{name}.png", "visible").astype(int) for name in ("narrow", "wide"))
    assert np.abs(narrow - full).mean() < 1


def test_one_pixel(model, tmp_path):
    pair = _draw(tmp_path / "v.png", size=(1, 1)), _draw(tmp_path / "i.png", size=(1, 1), channels=1)
    assert _fuse(model, *pair, tmp_path / "o.png").exit_code == 0
    assert images.size(tmp_path / "o.png") == (1, 1)


@pytest.mark.slow
def test_six_megapixels(model, tmp_path):
    pair = _draw(tmp_path / "v.jpg", size=(2000, 3000)), _draw(tmp_path / "i.jpg", size=(2000, 3000), channels=1)
    assert _fuse(model, *pair, tmp_path / "o.jpg").exit_code == 0
    fused = images.read(tmp_path / "o.jpg", "visible")
    assert fused.shape == (2000, 3000, 3) and fused.std() > 5


def test_a_folder_goes_on_after_bad_files_and_lists_them(model, tmp_path):
    vi, ir, out = tmp_path / "vi", tmp_path / "ir", tmp_path / "out"
    for stem, size in (("a", (30, 40)), ("e", (33, 44)), ("g", (30, 40))):
        _draw(vi / f"{stem}.png", size=size)
        _draw(ir / f"{stem}.jpg", size=size, channels=1)
    (vi / "b.png").touch()
    (vi / "c.png").write_text("a text")
    Image.fromarray(np.full((30, 40), np.nan, np.float32)).save(ir / "d.tif")
    _draw(vi / "d.png"), _draw(vi / "f.png")
    _draw(ir / "b.png", channels=1), _draw(ir / "c.png", channels=1), _draw(ir / "f.png", size=(29, 40), channels=1)
    result = _fuse(model, vi, ir, out)
    _says(result, vi / "b.png", "is empty", vi / "c.png", "is not an image", ir / "d.tif", "not finite")
    _says(result, vi / "f.png", "40x30", ir / "f.png", "40x29", "4 of 7 images failed")
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "e.png", "g.png"]
    assert images.size(out / "e.png") == (33, 44)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("a text"), "is not an image"),
        (lambda path: _draw(path, size=(20, 20)), "v.png is 20x20 and "),
    ],
)
def test_a_bad_file_leaves_nothing_half_written(model, tmp_path, spoil, message):
    spoil(tmp_path / "v.png")
    _draw(tmp_path / "i.png", channels=1)
    result = _fuse(model, tmp_path / "v.png", tmp_path / "i.png", tmp_path / "o.png")
    _says(result, "Error: ", tmp_path / "v.png", message)
    assert len(result.output.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i.png", "v.png"]


def test_complaints_before_any_work(model, tmp_path):
    vi, ir = tmp_path / "vi", tmp_path / "ir"
    a, b = _draw(vi / "a.png"), _draw(ir / "a.png", channels=1)
    _says(_fuse(model, vi, tmp_path / "gone", tmp_path / "o"), "gone does not exist")
    _says(_fuse(model, a, b, a, "--overwrite"), "is one of the inputs")
    _says(_fuse(model, a, b, _draw(tmp_path / "o.png")), "already exists", "--overwrite")
    _says(_fuse("lure_huge", a, b, tmp_path / "p.png"), "There is no model 'lure_huge'")
    _says(_fuse(tmp_path, a, b, tmp_path / "p.png"), "is not a model")
    _draw(vi / "a.jpg")
    _says(_fuse(model, vi, ir, tmp_path / "o"), "a.jpg and a.png have one stem")
    (vi / "a.jpg").rename(vi / "b.jpg")
    _says(_fuse(model, vi, ir, tmp_path / "o"), "b.jpg has no partner b.*")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ir", "o.png", "vi"]


def test_overwrite(model, tmp_path):
    a, b = _draw(tmp_path / "v.png"), _draw(tmp_path / "i.png", channels=1)
    old = _draw(tmp_path / "o.png").read_bytes()
    assert _fuse(model, a, b, tmp_path / "o.png", "--overwrite").exit_code == 0
    assert (tmp_path / "o.png").read_bytes() != old


def test_unknown_words_of_the_prompt_are_told_once(model, tmp_path):
    for stem in "ab":
        _draw(tmp_path / "in" / f"{stem}.png", channels=1)
    result = _lure(
        *("restore", "--input", tmp_path / "in", "--output", tmp_path / "out", "--modality", "infrared"),
        *("--prompt", "flimsy stripes", "--model", model),
    )
    assert result.exit_code == 0 and result.output.count("flimsy") == 1 and "Warning: " in result.output
    expected = Fuser.load(model).restore(images.read(tmp_path / "in" / "a.png", "infrared"), "infrared", "stripes")
    np.testing.assert_array_equal(images.read(tmp_path / "out" / "a.png", "infrared"), expected)


def test_restore_needs_its_modality(model, tmp_path):
    a = _draw(tmp_path / "v.png")
    _says(_lure("restore", "--input", a, "--output", tmp_path / "o.png", "--model", model), "--modality")


def test_data_list_and_a_failed_build(tmp_path):
    listed = _lure("data", "list")
    assert listed.exit_code == 0
    table = {words[0]: words[1:3] for words in map(str.split, listed.output.splitlines()) if len(words) > 3}
    for name in ("msrs", "roadscene", "llvip"):
        assert table[name] == ["pairs", "yes"]
    assert table["fmb"] == ["pairs", "no"] and table["lol"] == ["restoration", "yes"]
    assert "\nmsrs: Clone the homepage's repository" in listed.output
    places = ("--source", tmp_path / "gone", "--data-dir", tmp_path / "d")
    _says(_lure("data", "build", "msrs", *places), "gone does not exist")
    _says(_lure("data", "build", "mars", *places), "There is no data set 'mars'")
    _says(_lure("data", "build", "msrs", *places[2:]), "msrs is built from files: give --source")
    _says(
        _lure("data", "build", "synthetic_scenes/huge", *places[2:]), "synthetic_scenes/huge", "synthetic_scenes/debug"
    )
    assert list(tmp_path.iterdir()) == []


def test_data_build(tmp_path):
    for stem in ("a_1", "b_1", "c_1"):
        _draw(tmp_path / "own" / "visible" / f"{stem}.png")
        _draw(tmp_path / "own" / "infrared" / f"{stem}.png", channels=1)
    places = ("--source", tmp_path / "own", "--data-dir", tmp_path / "d", "--save-as", "mine")
    result = _lure("data", "build", "pairs/folders", *places)
    assert result.exit_code == 0 and result.output.startswith("mine: ") and str(tmp_path / "d") in result.output
    _says(_lure("data", "build", "pairs/folders", *places), "already built")


def test_data_build_renders_the_embedded_scenes(tmp_path):
    result = _lure("data", "build", "synthetic_scenes/debug", "--data-dir", tmp_path)
    assert result.exit_code == 0 and "4 train, 2 val, 2 test" in result.output, result.output
    assert (tmp_path / "synthetic_scenes" / "debug").is_dir()
