"""Trains a recipe: python train.py --config=configs/quickstart.py --workdir=runs/quickstart."""

import functools
import sys

import jax
from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from lure_jax.data import sources
from lure_jax.data.pipeline import restoration_parts
from lure_jax.errors import UserError
from lure_jax.evaluation import blur_fit, condition_fit
from lure_jax.evaluation.judging import make_iterator
from lure_jax.evaluation.training import build_evaluator
from lure_jax.inference import weights
from lure_jax.models import registry as models
from lure_jax.objectives import registry as objectives
from lure_jax.training import checkpoints
from lure_jax.training.errors import ConfigError
from lure_jax.training.loop import train
from lure_jax.training.state import Stage

CONFIG = config_flags.DEFINE_config_file("config", None, "The recipe.", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder or bucket for checkpoints, metrics and pictures.")
flags.mark_flags_as_required(["config", "workdir"])


def build_stages(config, model, heads=None) -> list[Stage]:
    """The recipe's stages: each its objective and a way to make its data, seeded apart."""
    if lacking := [name for name in config.recipe if name not in config.stages]:
        raise ConfigError(f"config.recipe names {lacking[0]!r}, but config.stages has {', '.join(config.stages)}.")
    stages = []
    for index, name in enumerate(config.recipe):
        stage = config.stages[name]
        if stage.pool == "restoration":
            restoration_parts(config.data, stage.get("conditions", None) or ())  # complains now, not in hours
        make_data = functools.partial(make_iterator, config, stage, seed=config.seed + 1000 * index)
        stages.append(Stage(name, objectives.build(stage, model, heads), stage.steps, stage, make_data))
    return stages


def load_params(name_or_dir: str, abstract, text: str):
    """Parameters for `config.init_from`: a released model by name or folder, or the last checkpoint of a workdir."""
    try:
        return weights.load_params(name_or_dir, models.without_heads(abstract), text, optional=models.OPTIONAL)
    except weights.WeightsError:
        if checkpoints.latest_step(name_or_dir) is None:
            raise
        return checkpoints.load_average(name_or_dir, abstract, text, optional=models.OPTIONAL)


def run(config, workdir: str) -> None:
    """Assembles data, model, stages and evaluator, trains, and writes a finished fusion model to workdir/model."""
    sources.prepare(config)
    model = models.build(config.model)
    heads = models.build_heads(config, model)
    init, evaluate = functools.partial(models.initialise, model, heads=heads), build_evaluator(config, model, heads)
    how = dict(evaluate=evaluate, load_params=load_params, text=model.text_identity)
    stages = build_stages(config, model, heads)
    if not (config.init_from or config.resume) and checkpoints.latest_step(workdir) is None:
        init = blur_fit.starting(init, config)
    state = train(config, workdir, stages=stages, init=init, **how)
    if config.model.name not in models.JUDGES and int(state.step) == sum(stage.steps for stage in stages):
        params = condition_fit.fitted(model, models.without_heads(state.ema), config)
        weights.save(epath.Path(workdir) / "model", params, config.model, prompts=model.prompts)
        print(f"the finished model is {workdir}/model: lure fuse --model {workdir} ...")


def main(_) -> None:
    """What the user can repair is said in one sentence; anything else keeps its traceback."""
    logging.set_verbosity(logging.WARNING)
    config = CONFIG.value
    if config.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", config.compilation_cache)
    if config.distributed:
        jax.distributed.initialize()
    try:
        run(config, WORKDIR.value)
    except (UserError, FileNotFoundError, FloatingPointError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main)
