"""`lure evaluate-degraded`: what is degraded, who gets which help, what is compared with what."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import ndimage

from lure_jax.cli import main
from lure_jax.data.degradations import degrade
from lure_jax.evaluation import classical, degraded
from lure_jax.evaluation import fusion as protocol
from lure_jax.evaluation.folders import Sources
from lure_jax.evaluation.methods import MethodError, Network, Rule, read_methods
from lure_jax.inference import images
from lure_jax.text.conditions import CONDITIONS, Condition, condition_id
from lure_jax.text.prompts import PROMPT_CONDITIONS

STRIPE, HAZE = Condition("infrared", "stripe"), Condition("visible", "haze")


def scene(seed):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((4, 180, 190)), (0, 4, 4))
    smooth = np.clip(128 + 40 * smooth / smooth.std(), 5, 250).astype(np.uint8)
    return Sources(np.moveaxis(smooth[:3], 0, -1).copy(), smooth[3])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for seed, stem in enumerate("ab"):
        for name, image in zip(("vi", "ir"), scene(seed), strict=True):
            images.write(folder / name / f"{stem}.png", image)
    return folder


def lure(data, *arguments):
    places = ("--visible", data / "vi", "--infrared", data / "ir")
    result = CliRunner().invoke(main, [str(a) for a in ("evaluate-degraded", *arguments, *places)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


class Recorder:
    """Stands for a Fuser: gives the visible image back and remembers the prompts."""

    def __init__(self):
        self.prompts = []

    def fuse(self, visible, infrared, prompt):
        self.prompts.append(prompt)
        return visible


@pytest.fixture(scope="module")
def result(data):
    return degraded.evaluate(data / "vi", data / "ir", ["max", "average"], ["infrared/stripe", "visible/over_exposure"])


def test_one_image_is_degraded_in_the_same_way_every_time():
    clean = scene(0)
    bad = degraded.degraded(clean, STRIPE, 3)
    np.testing.assert_array_equal(bad.visible, clean.visible)
    rng = np.random.default_rng([degraded.SEED, condition_id(*STRIPE), 3])
    expected = degrade(clean.infrared[..., None] / np.float32(255), [condition_id(*STRIPE)], rng)[..., 0]
    np.testing.assert_array_equal(bad.infrared, np.round(255 * expected))
    assert (degraded.degraded(clean, STRIPE, 4).infrared != bad.infrared).any()
    hazy = degraded.degraded(clean, HAZE, 0)
    assert hazy.visible.shape == clean.visible.shape and (hazy.infrared == clean.infrared).all()


def test_conditions_by_name():
    assert degraded.read_conditions(["visible/haze", "infrared/stripe", "visible/haze"]) == [HAZE, STRIPE]
    assert degraded.read_conditions([]) == [c for c in CONDITIONS if c.name != "clean"]
    for name in ("visible/clean", "visible/stripe", "noise"):
        with pytest.raises(MethodError, match=f"--condition {name} is not known; choose from visible/haze"):
            degraded.read_conditions([name])


def test_scores_compare_with_the_own_clean_fusion_and_with_clean_sources(result):
    clean = scene(1)
    (rule,) = read_methods(["average"], [])
    bad = degraded.degraded(clean, STRIPE, 1)
    helped = bad._replace(infrared=classical.without_stripes(bad.infrared))
    own = rule.fuse("", clean)
    for help_, pair in (("no help", bad), ("column offsets", helped)):
        fused, scores = rule.fuse("", pair), result.scores["infrared/stripe"]["average", help_]["b"]
        error = np.square(fused.astype(float) - own).mean()
        assert scores[degraded.OWN_PSNR] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
        assert scores["VIF"] == pytest.approx(protocol.fusion_scores(fused, *clean)["VIF"])


def test_tables_have_a_row_for_each_kind_of_help_there_is(result):
    tables = degraded.table(result)
    assert list(tables) == ["none", "infrared/stripe", "visible/over_exposure"]
    helps = {name: [(row["method"], row["help"]) for row in rows] for name, rows in tables.items()}
    assert helps["infrared/stripe"] == [(m, h) for m in ("max", "average") for h in ("no help", "column offsets")]
    assert helps["none"] == helps["visible/over_exposure"] == [("max", "no help"), ("average", "no help")]
    assert degraded.OWN_PSNR not in tables["none"][0]
    plain, helped = tables["infrared/stripe"][:2]
    assert helped[degraded.OWN_PSNR] > plain[degraded.OWN_PSNR]
    images_ = result.scores["infrared/stripe"]["max", "no help"]
    assert plain["SCD"] == pytest.approx(np.mean([images_[stem]["SCD"] for stem in "ab"]))


def test_a_network_is_left_alone_and_told_the_condition():
    network = Network("net", Recorder())
    ways = dict(degraded.ways(network, STRIPE, scene(0), {}))
    assert list(ways) == ["no help", "prompt"]
    auto, told = network.fuser.prompts
    assert auto == "auto"
    named = {CONDITIONS[PROMPT_CONDITIONS[i]] for ids in (told.visible, told.infrared) for i in ids if i >= 0}
    assert named == {Condition("visible", "clean"), STRIPE}


def test_help_of_a_baseline_touches_the_degraded_image_alone():
    seen = []
    rule = Rule("spy", lambda visible, infrared: seen.append((visible, infrared)) or visible)
    clean = scene(0)
    helped = degraded.restored(clean, HAZE)
    assert [name for name, _ in degraded.ways(rule, HAZE, clean, helped)] == ["no help", "dark channel"]
    _, (visible, infrared) = seen
    np.testing.assert_allclose(255 * infrared[0, ..., 0], clean.infrared, atol=1e-3)
    np.testing.assert_allclose(255 * visible[0], classical.dark_channel(clean.visible), atol=1e-3)


def test_the_command_writes_what_it_prints_and_goes_on_after_a_bad_file(data, tmp_path):
    for role in ("vi", "ir"):
        for path in (data / role).iterdir():
            (tmp_path / role).mkdir(exist_ok=True)
            (tmp_path / role / path.name).write_bytes(path.read_bytes())
    (tmp_path / "ir" / "a.png").write_text("a text")
    wanted = ("--condition", "infrared/stripe", "--json", tmp_path / "d.json", "--csv", tmp_path / "d.csv")
    told = lure(tmp_path, "max", *wanted)
    assert told.exit_code == 2 and "ir/a.png is not an image" in told.output and "1 of 2 pairs failed" in told.output
    assert "## infrared/stripe" in told.output
    written = json.loads((tmp_path / "d.json").read_text())
    stripe = written["conditions"]["infrared/stripe"]["max"]["column offsets"]
    assert list(stripe["images"]) == ["b"] and written["pairs"] == 1
    (row,) = [r for r in csv.DictReader((tmp_path / "d.csv").open()) if r["help"] == "column offsets"]
    assert float(row["VIF"]) == pytest.approx(stripe["mean"]["VIF"]) and f"| {float(row['VIF']):.3f} |" in told.output
    # The other pair is degraded as if nothing were missing.
    whole = degraded.evaluate(data / "vi", data / "ir", ["max"], ["infrared/stripe"])
    assert stripe["images"]["b"]["VIF"] == whole.scores["infrared/stripe"]["max", "column offsets"]["b"]["VIF"]


def test_complaints_before_any_work(data):
    for arguments, message in (
        ((f"x={data / 'vi'}",), "'x' is a folder of images"),
        (("max", "--condition", "visible/fog"), "--condition visible/fog is not known"),
        (("maxi",), "'maxi' is neither a baseline"),
    ):
        told = lure(data, *arguments)
        assert told.exit_code == 2 and message in told.output, told.output


def test_images_taken_under_a_condition_are_taken_and_not_made(data, tmp_path):
    for stem in "ab":
        images.write(tmp_path / "dark" / f"{stem}.png", images.read(data / "vi" / f"{stem}.png", "visible") // 4)
    table = tmp_path / "table.json"
    result = lure(data, "max", "--taken", f"visible/low_light={tmp_path / 'dark'}", "--json", table)
    assert result.exit_code == 0, result.output
    found = json.loads(table.read_text())["conditions"]
    assert set(found) == {"none", "visible/low_light"}
    clean = Sources(*(images.read(data / n / "a.png", m) for n, m in (("vi", "visible"), ("ir", "infrared"))))
    clean = clean._replace(infrared=clean.infrared.reshape(clean.infrared.shape[:2]))
    (rule,) = read_methods(["max"], [])
    dark = rule.fuse("", clean._replace(visible=clean.visible // 4))
    expected = protocol.fusion_scores(dark, *clean)["VIF"]
    assert found["visible/low_light"]["max"]["no help"]["images"]["a"]["VIF"] == pytest.approx(expected, rel=1e-6)


def test_images_taken_elsewhere_are_one_sentence(data, tmp_path):
    result = lure(data, "max", "--taken", "visible/low_light")
    assert result.exit_code == 2 and "write it like visible/low_light=dark/" in result.output
    result = lure(data, "max", "--taken", f"visible/dark={tmp_path}")
    assert result.exit_code == 2 and "--taken visible/dark is not known; choose from" in result.output
    twice = ("--taken", f"visible/noise={tmp_path}", "--taken", f"visible/noise={data}")
    result = lure(data, "max", *twice)
    assert result.exit_code == 2 and f"names visible/noise again, after {tmp_path}" in result.output
    for stem in "ab":
        images.write(tmp_path / f"{stem}.png", np.zeros((180, 200, 3), np.uint8))
    result = lure(data, "max", "--taken", f"visible/low_light={tmp_path}")
    assert result.exit_code == 2 and "is 200x180 and its clean image 190x180" in result.output
