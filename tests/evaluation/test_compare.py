"""`lure evaluate` and `lure compare`: what is matched, scored, ranked, vetoed, and what a bad file does."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

from lure_jax.cli import main
from lure_jax.evaluation import compare, folders, methods
from lure_jax.evaluation import fusion as protocol
from lure_jax.evaluation.folders import Sources
from lure_jax.inference import images
from lure_jax.inference.folders import JobError


def scene(seed, height=180, width=190):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((4, height, width)), (0, 4, 4))
    smooth = np.clip(128 + 50 * smooth / smooth.std(), 5, 250).astype(np.uint8)
    return np.moveaxis(smooth[:3], 0, -1).copy(), smooth[3]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two pairs; "copies" holds the visible images, "loud" stretched ones."""
    folder = tmp_path_factory.mktemp("pairs")
    for seed, stem in enumerate("ab"):
        visible, infrared = scene(seed)
        loud = np.clip(3.0 * (visible[..., ::-1].astype(float) - 128) + 128, 0, 255).astype(np.uint8)
        contents = {"vi": visible, "ir": infrared, "copies": visible, "loud": loud}
        for name, image in contents.items():
            images.write(folder / name / f"{stem}.png", image)
    return folder


def lure(*arguments):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def sources_of(data):
    return "--visible", data / "vi", "--infrared", data / "ir"


def says(result, *words):
    assert result.exit_code == 2, result.output
    for word in words:
        assert str(word) in result.output, result.output


@pytest.fixture(scope="module")
def compared(data):
    return compare.compare(data / "vi", data / "ir", ["max", f"loud={data / 'loud'}", f"copies={data / 'copies'}"])


def test_scores_are_those_of_the_files(data, compared):
    loud = compared.scores["loud"]["b"]
    expected = protocol.fusion_scores(images.read(data / "loud" / "b.png", "visible"), *scene(1))
    assert {name: loud[name] for name in expected} == expected
    assert compared.scores["max"] == compared.limits and compared.failures == []


def test_copies_of_the_visible_image_win_what_copying_wins_and_loud_ones_are_vetoed(compared):
    rows = {row.method: row for row in compare.table(compared)}
    assert rows["copies"].vetoes == [] and rows["max"].vetoes == []
    assert {veto.what for veto in rows["loud"].vetoes} == {"clipped %", "overshoot", "chroma shift"}
    assert "MI" in rows["copies"].best and rows["copies"].means["chroma shift"] == 0


def test_mean_ranks_take_the_five_metrics_alone_and_the_best_is_bold():
    rising, falling = dict.fromkeys(compare.COLUMNS, 1.0), dict.fromkeys(compare.COLUMNS, 2.0)
    falling |= dict.fromkeys(protocol.SHOWN, 0.0)
    scores = {"x": {"a": rising | {"MI": 3.0}}, "y": {"a": falling}}
    first, second = compare.table(compare.Comparison(scores, {"a": rising}, {}, []))
    assert (first.method, first.rank, second.rank) == ("y", 1.2, 1.8)
    assert first.best == {"mean rank", "SCD", "VIF", "Qabf", "SSIM"} and second.best == {"MI"}
    lines = compare.readable([first, second])
    assert lines[0]["VIF"] == "**2.000**" and lines[1]["MI"] == "**3.000**" and lines[1]["EN"] == "1.000"


def test_chroma_shift_of_bluer_grey():
    """20 levels more blue: Y + 0.114 * 20, Cb + (20 - 2.28) / 1.772, Cr - 2.28 / 1.402; lighter grey: nothing."""
    visible = np.full((180, 190, 3), 100, np.uint8)
    sources = Sources(visible, visible[..., 0])
    blue = visible + np.array([0, 0, 20], np.uint8)
    assert compare.chroma_shift(blue, sources) == pytest.approx(np.hypot(10, 2.28 / 1.402), abs=1e-3)
    assert compare.chroma_shift(visible + np.uint8(50), sources) == pytest.approx(0, abs=1e-3)


def test_places_are_where_brightness_and_where_detail_differ():
    first = np.full((80, 100), 50, np.uint8)
    second = first.copy()
    second[:, :50] = 150  # brightness alone, but for its edge
    second[60:70:2, 80:90] = 100
    second[61:70:2, 80:90] = 0
    (top, left), detail = compare.places({"x": first, "y": second}, 10)
    assert left + 10 <= 50 and detail == (60, 80)
    assert compare.places({"x": second, "y": first}, 10) == [(top, left), detail]


def test_places_do_not_overlap():
    same = {name: np.full((60, 80), 50, np.uint8) for name in "xy"}
    (top, left), (other_top, other_left) = compare.places(same, 30)
    assert abs(top - other_top) >= 30 or abs(left - other_left) >= 30
    assert len(compare.places(same, 60)) == 1


def test_sources_are_read_as_the_fuser_reads_them(tmp_path):
    grey, infrared = scene(3)
    deep = 7000 + infrared.astype(np.uint16) * 4  # a narrow band of 16 bits
    images.write(tmp_path / "v.png", grey[..., 0])
    images.write(tmp_path / "i.png", deep)
    read = folders.read_sources({"visible": tmp_path / "v.png", "infrared": tmp_path / "i.png"})
    np.testing.assert_array_equal(read.visible, np.repeat(grey[..., :1], 3, -1))
    low, high = np.percentile(deep, (0.1, 99.9))
    expected = np.round(255 * np.clip((deep - low) / (high - low), 0, 1))
    np.testing.assert_allclose(read.infrared, expected, atol=1)


def test_a_bad_file_costs_its_pair_for_every_method_and_is_told(data, tmp_path):
    Image.fromarray(scene(0)[0][:100]).save(tmp_path / "a.png")
    Image.open(data / "vi" / "b.png").save(tmp_path / "b.png")
    outputs = ("--json", tmp_path / "out.json", "--csv", tmp_path / "new" / "out.csv")
    result = lure("compare", f"cut={tmp_path}", "max", *sources_of(data), *outputs)
    says(result, tmp_path / "a.png", "190x100", "190x180", "1 of 2 pairs failed", "| cut |")
    written = json.loads((tmp_path / "out.json").read_text())
    assert {name: list(stems) for name, stems in written["images"].items()} == {"cut": ["b"], "max": ["b"]}
    assert len(written["failures"]) == 1
    rows = list(csv.DictReader((tmp_path / "new" / "out.csv").open()))
    by_name = {row["method"]: float(row["VIF"]) for row in rows}
    assert by_name == {name: pytest.approx(m["means"]["VIF"]) for name, m in written["methods"].items()}


def test_evaluate_gives_each_image_and_the_mean(data, tmp_path):
    result = lure("evaluate", "--fused", data / "loud", *sources_of(data), "--csv", tmp_path / "t.csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert [row["image"] for row in rows] == ["a", "b", "mean"]
    assert all(f"| {row['image']} |" in result.output for row in rows)
    for metric in ("VIF", "MI2", "overshoot"):
        a, b, mean = (float(row[metric]) for row in rows)
        assert mean == pytest.approx((a + b) / 2)
    again = ("evaluate", "--fused", data / "loud", *sources_of(data), "--csv", tmp_path / "t.csv")
    says(lure(*again), "already exists", "--overwrite")


def test_some_of_the_pairs_are_enough_but_the_same_for_all_folders(data, tmp_path):
    part, other = tmp_path / "part", tmp_path / "other"
    images.write(part / "b.png", scene(1)[0])
    pairs = folders.matched({"visible": data / "vi", "infrared": data / "ir"})
    (small,) = methods.read_methods([f"part={part}"], [])
    assert list(methods.judged(pairs, [small])) == ["b"] and list(methods.judged(pairs, [])) == ["a", "b"]
    whole = methods.Folder("whole", methods.folder_files("whole", data / "copies"))
    with pytest.raises(JobError, match="copies/a.png has no partner a.* in the folder of part"):
        methods.judged(pairs, [small, whole])
    images.write(other / "z.png", scene(1)[0])
    with pytest.raises(JobError, match="z.png has no sources z"):
        methods.judged(pairs, [methods.Folder("other", methods.folder_files("other", other))])


def test_what_a_method_may_be(data):
    rule, renamed, folder = methods.read_methods(["max", "mean=average", f"x={data / 'loud'}"], [])
    assert [type(m).__name__ for m in (rule, renamed, folder)] == ["Rule", "Rule", "Folder"]
    assert (renamed.name, folder.name, sorted(folder.files)) == ("mean", "x", ["a", "b"])
    sources = Sources(*scene(0))
    total = (sources.visible @ np.array([0.299, 0.587, 0.114]) + sources.infrared) / 2
    fused = renamed.fuse("a", sources) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(fused - total).mean() < 1  # a little more where a colour leaves the gamut


def test_complaints_before_any_work(data, tmp_path):
    both = sources_of(data)
    says(lure("compare", "maximum", *both), "'maximum' is neither a baseline", "NAME=DIR")
    says(lure("compare", "max", "max=average", *both), "Two methods are called 'max'")
    says(lure("compare", "x=gone", *both), "gone does not exist")
    says(lure("compare", *both), "METHOD")
    says(lure("evaluate", "--fused", data / "vi" / "a.png", *both), "is a file; name a folder")
    says(lure("compare", "max", *both, "--json", data), "is a folder; name a file")
    says(lure("compare", "max", *both, "--csv", data / "vi" / "a.png" / "t.csv"), "is a file")
    images.write(tmp_path / "a.png", scene(0)[0])
    says(lure("compare", "max", "--visible", data / "vi", "--infrared", tmp_path), "b.png has no partner")


def test_images_too_small_for_the_metrics_fail_by_name(tmp_path):
    visible, infrared = scene(0, 100, 190)
    images.write(tmp_path / "vi" / "a.png", visible)
    images.write(tmp_path / "ir" / "a.png", infrared)
    result = lure("compare", "max", "--visible", tmp_path / "vi", "--infrared", tmp_path / "ir")
    says(result, tmp_path / "vi" / "a.png", "190x100", "176x176", "1 of 1 pairs failed")
