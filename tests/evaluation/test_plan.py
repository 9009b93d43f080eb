"""What a step needs, planned for this machine."""

import json

import jax
import numpy as np
import pytest
from click.testing import CliRunner

from configs import common, quickstart
from lure_jax import cli
from lure_jax.data import judged
from lure_jax.errors import UserError
from lure_jax.evaluation import plan

HLO = """
  %all-reduce.1 = f32[4,8]{1,0} all-reduce(%a), channel_id=1
  %ag = (bf16[2,3]{1,0}, bf16[16,3]{1,0}) all-gather-start(%b), dimensions={0}
  %done = bf16[16,3]{1,0} all-gather-done(%ag)
  %c = u8[] collective-permute(%d)
"""


def test_collectives_are_counted_by_kind_in_bytes():
    assert plan.collective_bytes(HLO) == {"all-reduce": 128, "all-gather": 2 * 6 + 2 * 48, "collective-permute": 1}


@pytest.mark.parametrize("pool", ["restoration", "fusion", "judged"])
def test_the_stand_in_batch_has_the_keys_of_its_pool(pool):
    config = common.lure("tiny", common.SYNTHETIC_RESTORATION, common.SYNTHETIC_FUSION)
    config.data.judged, config.model.classes = (common.judged("any", "max", "labels", ("a", "b")),), 2
    stage = common.stage("any", pool, steps=1, batch=4, crop=32, lr=1e-3)
    batch = plan.stand_in(config, stage, plan.mesh.make_mesh(config.mesh))
    keys = {"restoration": "reference", "fusion": "visible_reference", "judged": "labels"}
    assert batch[keys[pool]].shape[0] == 4 and judged.UNKNOWN == 255
    assert all(isinstance(x, jax.ShapeDtypeStruct) and x.shape[0] == 4 for x in batch.values())


@pytest.mark.slow
def test_lure_plan_says_what_a_step_needs(tmp_path):
    recipe = tmp_path / "recipe.py"
    recipe.write_text(
        "from configs import common\n"
        "def get_config():\n"
        "    config = common.ssvif('tiny', common.SYNTHETIC_FUSION)\n"
        "    config.stages.heads = common.stage('ssvif_heads', 'fusion', steps=9, batch=8, crop=32, lr=1e-3)\n"
        "    config.stages.heads.warmup = 0\n"
        "    config.recipe = ('heads',)\n"
        "    return config\n"
    )
    out = tmp_path / "plan.json"
    command = ["plan", "--config", str(recipe), "--json", str(out), "stages.heads.batch=2"]
    result = CliRunner().invoke(cli.main, command)
    assert result.exit_code == 0, result.output
    (step,) = json.loads(out.read_text())["steps"]
    pixels = 2 * 32 * 32 * 4
    assert step["batch"] > 8 * pixels  # two images of four channels and their references
    # parameters, their average and two moments of them, in float32
    assert 16 * step["parameters"] <= step["state"] < 16.1 * step["parameters"]
    assert step["total"] >= step["state"] + step["temporary"] and step["flops"] > 1e8
    assert step["collectives"] == {} and step["missing"] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "nowhere.py"], "is no file"),
        (["--config", "configs/lure_tiny.py", "stages.nothing.batch=3"], "changes nothing of the recipe"),
        (["--config", "configs/lure_tiny.py", "--topology", "h200:8"], "one of v4, v5e, v5p, v6e"),
        (["--config", "configs/lure_tiny.py", "--mesh", "data=3"], "does not fit"),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_sentence(arguments, sentence):
    result = CliRunner().invoke(cli.main, ["plan", *arguments])
    assert result.exit_code == 2 and sentence in result.output and "Traceback" not in result.output


def test_a_step_that_does_not_fit_says_by_how_much():
    step = plan.StepPlan("a", 1, 1, 1, 1, 20_000_000, 15e6, 1.0, 1.0, np.nan, np.nan, {}, 1.0, [])
    assert step.missing == 5e6 and plan.as_row(step)["fits"] == "no: 5 MB too much"
    assert plan.as_row(step._replace(total=10_000_000))["fits"] == "yes"


def test_a_step_that_the_compiler_refuses_for_memory_is_planned_all_the_same(monkeypatch, tmp_path):
    refusal = (
        "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (32.01G) exceeds available HBM (15.75G). HLO module: jit_f."
    )
    monkeypatch.setattr(plan, "_local_memory", lambda device: 16e9)

    def refuse(*_):
        raise jax.errors.JaxRuntimeError(refusal)

    monkeypatch.setattr(plan.loop, "compile_step", refuse)
    file = tmp_path / "plan.json"
    arguments = ["plan", "--config", "configs/quickstart.py", "--json", str(file), "recipe=('space',)"]
    result = CliRunner().invoke(cli.main, arguments)
    (step,) = json.loads(file.read_text())["steps"]
    assert result.exit_code == 0 and "MB too much" in result.output, result.output
    assert step["temporary"] == round(32.01 * 2**30) and step["flops"] is None
    assert step["missing"] == step["state"] + step["batch"] + step["temporary"] - 16e9
    refusal = "INTERNAL: something else"
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        plan.plan(quickstart.get_config())


def test_an_unknown_chip_is_an_error_that_lists_the_known_ones():
    with pytest.raises(UserError, match="v5e"):
        plan.pod("v1:2x2")


def test_a_step_takes_what_the_compiler_says_else_the_longer_of_operations_and_traffic():
    chip = plan.Chip(memory=16e9, flops=100.0, bandwidth=10.0)
    assert plan.step_seconds(200.0, 50.0, 7.0, chip) == 7.0
    assert plan.step_seconds(200.0, 50.0, -1.0, chip) == 5.0
    assert plan.step_seconds(800.0, 50.0, np.nan, chip) == 8.0
    here = plan.Chip(np.nan, np.nan, np.nan)
    assert np.isnan(plan.step_seconds(200.0, 50.0, np.nan, here))
    assert np.isnan(plan.step_seconds(200.0, np.nan, np.nan, chip))
