"""Every recipe builds and runs a step of its stages, shrunk by overrides as a user would give them."""

import importlib
import pathlib

import flax.linen as nn
import jax
import numpy as np
import pytest
from tiny_clip import write_clip

import train
from configs import common
from lure_jax.data import sources
from lure_jax.models import registry as models
from lure_jax.objectives import registry as objectives
from lure_jax.training import loop

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOT_HERE = ("__init__", "common", "segmentation", "detection", "ablations")  # evaluation/test_judging, test_ablations
RECIPES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in NOT_HERE)


def shrunk(recipe: str, data_dir: str):
    """The recipe over eight synthetic scenes, one step a stage; with a tiny CLIP where it has one."""
    config = importlib.import_module(f"configs.{recipe}").get_config()
    if config.model.get("text") == "clip":
        config.model.clip = str(write_clip(pathlib.Path(data_dir) / "clip"))
    config.data.data_dir, config.data.workers = data_dir, 0
    debug = "synthetic_scenes/debug"
    config.data.restoration = (
        common.clean(debug, "visible", "visible", common.VISIBLE),
        common.clean(debug, "infrared", "infrared", common.INFRARED),
    )  # fmt: skip
    if recipe.startswith("ssvif"):
        config.data.restoration = ()
    config.data.fusion = (common.pairs(debug, labels=config.data.fusion[0].labels),)
    for name in config.recipe:
        config.stages[name].update(dict(steps=1, batch=2, crop=48, warmup=0, lr=1e-3))  # one rate: fewer to compile
    return config


def assembled(config):
    """Model, heads, stages and the function that makes the parameters, as train.py puts them together."""
    model = models.build(config.model)
    heads = models.build_heads(config, model)
    return model, heads, train.build_stages(config, model, heads), lambda key: models.initialise(model, key, heads)


def test_a_stage_that_no_row_has_samples_for_is_named_before_the_first_begins(data_dir):
    config = shrunk("lure_tiny", data_dir)
    config.data.restoration = config.data.restoration[:1]
    config.data.condition_weights = {}
    with pytest.raises(ValueError, match=r"conditions=\('stripe',\): no row of config.data.restoration offers them"):
        assembled(config)


def test_all_are_here():
    lure = {"quickstart", "lure_tiny", "lure_small", "lure_base", "lure_base_clip", "lure_large"}
    assert lure | {"ssvif_tiny", "ssvif_base", "ssvif_supervised", "lure_ssvif"} <= set(RECIPES)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_builds_all_stages_and_runs_a_step_at_tiny_size(recipe, data_dir, tmp_path):
    config = shrunk(recipe, data_dir)
    sources.prepare(config)
    model, heads, stages, init = assembled(config)
    params = nn.unbox(jax.eval_shape(init, jax.random.key(0)))
    aux = None
    for stage in {(stage.config.objective, stage.config.get("part", "")): stage for stage in stages}.values():
        batch = next(stage.make_data())
        objective = objectives.build(stage.config, model, heads)
        aux = jax.eval_shape(objective.begin, aux)
        shape, (metrics, after) = jax.eval_shape(
            lambda p, b, a, o=objective: o.loss(p, b, jax.random.key(0), 0, a), params, batch, aux
        )
        assert shape.shape == () and metrics and jax.tree.structure(after) == jax.tree.structure(aux)
    if recipe != "lure_small":  # which is no larger, and trains what the tiny preset lacks
        config.model.preset = "tiny"
    if heads:
        config.heads.preset = "tiny"
    _, _, stages, init = assembled(config)
    state = loop.train(config, tmp_path / "run", stages=stages[:1], init=init, load_params=train.load_params)
    assert int(state.step) == 1 and all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
