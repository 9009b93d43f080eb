"""`lure data check` and `align` on folders with one fault each."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("cv2")

from lure_jax.cli_data import data  # noqa: E402
from lure_jax.data import own_pairs  # noqa: E402
from lure_jax.data.registration import Pose, pose_matrix, warp  # noqa: E402
from tfds_builders.files import DataError  # noqa: E402
from tfds_builders.synthetic_scenes import render_scene  # noqa: E402


@pytest.fixture
def folders(tmp_path):
    """Three rendered pairs: one in place, one 6 pixels off, one whose infrared image is noise, all 14 bits."""
    rng = np.random.default_rng(0)
    for name in ("visible", "infrared"):
        (tmp_path / name).mkdir()
    for stem, index in (("good", 3), ("off", 5), ("wrong", 6)):
        scene = render_scene(0, index, 120, 160)
        Image.fromarray(scene.visible).save(tmp_path / f"visible/{stem}.png")
        infrared = scene.infrared.squeeze()
        if stem == "off":
            infrared = warp(
                infrared, np.linalg.inv(pose_matrix(Pose(1.0, 0.0, 6.0, 0.0), (120, 160), (120, 160))), (120, 160)
            )
        if stem == "wrong":
            infrared = rng.integers(0, 256, (120, 160))
        Image.fromarray(7000 + 8 * infrared.astype(np.uint16)).save(tmp_path / f"infrared/{stem}.png")
    return tmp_path / "visible", tmp_path / "infrared"


def test_a_clean_report(folders):
    report = own_pairs.check(*folders)
    assert report.pairs == 3 and not report.unpaired and not report.bad and not report.duplicates
    assert report.kinds == {"visible": {"160x120 uint8": 3}, "infrared": {"160x120 uint16": 3}}
    away = report.misalignment()
    assert set(away) == {"good", "off"}
    assert away["good"] < 1.5 and away["off"] == pytest.approx(6, abs=1.5)


def test_faults_are_found(folders):
    visible, infrared = folders
    Image.fromarray(np.asarray(Image.open(visible / "good.png"))).save(visible / "again.jpg", quality=95)
    Image.fromarray(np.full((120, 160), 7, np.uint8)).save(infrared / "again.png")
    (infrared / "lonely.png").write_bytes((infrared / "good.png").read_bytes())
    (visible / "off.png").write_bytes(b"no image")
    burnt = np.asarray(Image.open(visible / "wrong.png")).copy()
    burnt[:60] = 255
    Image.fromarray(burnt).save(visible / "wrong.png")
    report = own_pairs.check(visible, infrared, sample=0)
    assert report.pairs == 4 and report.unpaired == [str(infrared / "lonely.png")]
    assert [fault for fault in report.bad if "again.png is constant" in fault]
    assert [fault for fault in report.bad if "off.png is not a readable image" in fault]
    assert [fault for fault in report.bad if "wrong.png is saturated" in fault]
    assert ("again", "good") in report.duplicates
    assert set(report.leaks) <= set(report.duplicates) and not report.registrations


def test_align_writes_what_it_trusts_and_says_the_rest(folders, tmp_path):
    told = own_pairs.align(*folders, tmp_path / "out")
    assert {stem: facts["status"] for stem, facts in told.items()} == {
        "good": "aligned", "off": "aligned", "wrong": "failed",
    }  # fmt: skip
    assert json.loads((tmp_path / "out/transforms.json").read_text()).keys() == told.keys()
    assert sorted(p.name for p in (tmp_path / "out/infrared").iterdir()) == ["good.png", "off.png"]
    top, left, height, width = told["off"]["crop"]
    cropped = np.asarray(Image.open(tmp_path / "out/visible/off.png"))
    original = np.asarray(Image.open(folders[0] / "off.png"))
    np.testing.assert_array_equal(cropped, original[top : top + height, left : left + width])
    thermal = np.asarray(Image.open(tmp_path / "out/infrared/off.png"))
    assert thermal.shape == cropped.shape[:2] and thermal.dtype == np.uint16 and thermal.min() >= 7000
    after = own_pairs.check(tmp_path / "out/visible", tmp_path / "out/infrared").misalignment()
    assert max(after.values()) < 1.0
    with pytest.raises(DataError, match="out already exists"):
        own_pairs.align(*folders, tmp_path / "out")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_pairs_of_different_resolution(folders, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    image = Image.open(folders[1] / "good.png")
    values = np.asarray(image).reshape(60, 2, 80, 2).mean((1, 3)).astype(np.uint16)
    Image.fromarray(values).save(small / "good.png")
    told = own_pairs.align(folders[0], small, tmp_path / "out")
    assert told["good"]["status"] == "aligned"
    sizes = {Image.open(tmp_path / f"out/{role}/good.png").size for role in ("visible", "infrared")}
    assert len(sizes) == 1 and sizes.pop() >= (150, 110)


def test_inner_rectangle():
    mask = np.ones((20, 30), bool)
    mask[:3] = mask[:, 25:] = False
    assert own_pairs.inner_rectangle(mask) == (3, 0, 17, 25)
    assert own_pairs.inner_rectangle(np.zeros((4, 5), bool)) is None


def test_folders_are_named_in_errors(folders, tmp_path):
    with pytest.raises(DataError, match="gone does not exist"):
        own_pairs.check(folders[0], tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="have no two images of one stem"):
        own_pairs.check(folders[0], tmp_path / "empty")


def test_commands(folders, tmp_path):
    places = ["--visible", str(folders[0]), "--infrared", str(folders[1])]
    result = CliRunner().invoke(data, ["check", *places, "--worst", str(tmp_path / "worst.png")])
    assert result.exit_code == 0, result.output
    for line in ("3 pairs; 0 files", "infrared: 3 of 160x120 uint16", "could not be registered: 1\n  wrong", "4 to 8"):
        assert line in result.output, result.output
    assert Image.open(tmp_path / "worst.png").size == (960, 480)
    result = CliRunner().invoke(data, ["align", *places, "--output", str(tmp_path / "out")])
    assert result.exit_code == 2 and "2 pairs written" in result.output
    assert "1 of 3 pairs were not aligned" in result.output and "Traceback" not in result.output
