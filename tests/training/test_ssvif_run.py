"""Real SSVIF runs: resumed in stage 2 with the state of the weights, and from a released model."""

import importlib
import json
import shutil

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

import train
from configs import common
from lure_jax.inference import weights
from lure_jax.training import checkpoints

STEPS, BATCH = (3, 5), 8


def config(data_dir, recipe="ssvif_tiny", **changes):
    """The recipe over eight synthetic scenes, saved at every second step, without an evaluation."""
    made = importlib.import_module(f"configs.{recipe}").get_config()
    made.data.data_dir, made.data.restoration = str(data_dir), ()
    made.data.fusion = (common.pairs("synthetic_scenes/debug"),)
    made.recipe = ("heads", "joint")
    for name, steps in zip(made.recipe, STEPS, strict=True):
        made.stages[name].update(dict(steps=steps, batch=BATCH, crop=32, warmup=1))
    made.log_every = 1
    made.checkpoint.update(dict(every=2, keep=20))
    made.update(changes)
    return made


@pytest.fixture(scope="module")
def without_evaluation():
    """Evaluations compile for longer than these runs take, and test_configs has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "build_evaluator", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory, data_dir, without_evaluation):
    workdir = tmp_path_factory.mktemp("run") / "unstopped"
    train.run(config(data_dir), str(workdir))
    return workdir


def rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def progress(workdir, step):
    return ocp.load_checkpointables(workdir / "checkpoints" / str(step), {"progress": None})["progress"]["aux"]


@pytest.mark.slow
def test_resumed_in_the_second_stage_is_bit_identical_weights_and_all(unstopped, data_dir, tmp_path):
    shutil.copytree(unstopped / "checkpoints" / "6", tmp_path / "checkpoints" / "6")
    train.run(config(data_dir), str(tmp_path))
    first, second = (weights.load(folder).params for folder in (unstopped, tmp_path))
    assert all(np.array_equal(a, b) for a, b in zip(*map(_leaves, (first, second)), strict=True))
    aux, again = (progress(folder, sum(STEPS)) for folder in (unstopped, tmp_path))
    assert all(np.array_equal(a, b) for a, b in zip(*map(_leaves, (aux, again)), strict=True)) and _leaves(aux)
    assert [_numbers(row) for row in rows(tmp_path)] == [_numbers(row) for row in rows(unstopped)[6:]]


@pytest.mark.slow
def test_the_average_is_handed_over_and_the_finished_model_has_no_heads(unstopped):
    step = checkpoints.latest_step(unstopped)
    saved = ocp.metadata(unstopped / "checkpoints" / str(step), checkpointable_name="ema").metadata
    assert set(saved) > {"feature_head", "pixel_head", "visible"}
    losses = [row["fusion"] for row in rows(unstopped)]
    mean = losses[0]
    for loss in losses[1 : STEPS[0]]:
        mean = 0.98 * mean + 0.02 * loss
    assert rows(unstopped)[-1]["weight_gradient"] > 0.1
    for row in rows(unstopped)[STEPS[0] :]:
        expected = row["weight_fusion"] * row["fusion"] / mean + row["weight_consistency"] * row["consistency"]
        np.testing.assert_allclose(row["loss"], expected, rtol=1e-4)
    model = json.loads((unstopped / "model" / "config.json").read_text())
    assert model["model"] == {"name": "two_stream", "preset": "tiny", "dtype": "float32"} and not model["thresholds"]
    saved = ocp.metadata(unstopped / "model" / "params").metadata
    assert not {"feature_head", "pixel_head"} & set(saved)


@pytest.mark.slow
def test_a_released_model_starts_a_recipe_with_fresh_heads(unstopped, data_dir, tmp_path):
    made = config(data_dir, init_from=str(unstopped / "model"))
    made.recipe = ("heads",)
    made.stages.heads.update(dict(steps=2, lr=0.0, final_lr=0.0))
    train.run(made, str(tmp_path))
    start, end = (weights.load(folder).params for folder in (unstopped, tmp_path))
    assert all(np.array_equal(a, b) for a, b in zip(*map(_leaves, (start, end)), strict=True))


def _leaves(tree):
    return jax.tree.leaves(tree)


def _numbers(row):
    return {name: value for name, value in row.items() if "per_second" not in name and name != "data_wait"}
