"""A two-stage recipe small enough to run in seconds; as a script, the process that a test stops or multiplies."""

import dataclasses
import functools
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import grain
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from lure_jax.data.pipeline import batches
from lure_jax.data.sources import Endless
from lure_jax.training import checkpoints
from lure_jax.training.loop import train
from lure_jax.training.state import Stage

BATCH, WIDTH = 8, 16


class Toy(nn.Module):
    """Two layers: "encoder" is split over fsdp and model, "decoder" has an axis of 3 that nothing divides."""

    width: int = WIDTH

    @nn.compact
    def __call__(self, x):
        initializer = nn.initializers.lecun_normal()
        wide = nn.with_logical_partitioning(initializer, ("in", "wide"))
        narrow = nn.with_logical_partitioning(initializer, ("wide", "in"))
        norm = nn.with_logical_partitioning(nn.initializers.zeros, ("norm",))
        x = nn.with_logical_constraint(x, ("batch", "channels"))
        x = nn.tanh(nn.Dense(self.width, kernel_init=wide, bias_init=norm, name="encoder")(x))
        return nn.Dense(3, kernel_init=narrow, bias_init=norm, name="decoder")(x)


MODEL = Toy()


def init(rng, model=MODEL):
    return model.init(rng, jnp.zeros((1, 8)))["params"]


@dataclasses.dataclass(frozen=True)
class Regression:
    """Squared error with a little noise from the step's own key, and a count in aux."""

    name: str = "regression"
    lr_factors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    poison: int = -1  # the stage-local step whose loss is not a number

    def begin(self, previous_aux):
        return {"seen": jnp.zeros((), jnp.int32) if previous_aux is None else previous_aux["seen"]}

    def loss(self, params, batch, rng, step, aux):
        noise = 0.01 * jax.random.normal(rng, batch["x"].shape)
        error = jnp.mean((MODEL.apply({"params": params}, batch["x"] + noise) - batch["y"]) ** 2)
        error = error * jnp.where(step == self.poison, jnp.nan, 1.0)
        return error, ({"error": error}, {"seen": aux["seen"] + len(batch["x"])})


class Samples(grain.transforms.RandomMap):
    def random_map(self, element, rng):
        x = rng.normal(size=8).astype(np.float32)
        return {"x": x, "y": np.sin(x[:3] * 3), "index": np.int32(element)}


def make_data(seed, batch=BATCH, record=None, **place):
    """The batches of `data.pipeline` of a thousand numbers; with `record`, a folder, what was read is noted there."""
    samples = grain.MapDataset.source(Endless(range(1000), seed)).seed(seed).random_map(Samples())
    read = batches([(samples, 1.0)], 0, batch, seed, **place)
    return read if record is None else noted(read, f"{record}/{seed}_{jax.process_index()}")


def noted(read, path):
    for batch in read:
        with open(path, "a") as file:
            file.write(json.dumps(batch["index"].tolist()) + "\n")
        yield batch


def stage_config(**changes):
    values = dict(batch=BATCH, microbatches=1, optimizer="adamw", lr=1e-2, final_lr=1e-4, warmup=2)
    return ml_collections.ConfigDict(values | dict(weight_decay=1e-2, clip=1.0) | changes)


def make_stages(steps=(10, 10), poison=-1, first=Regression(), record=None, **changes):  # noqa: B008
    second = Regression(name="decoder only", lr_factors={"encoder": 0.0}, poison=poison)
    one, two = (functools.partial(make_data, seed, record=record) for seed in (1, 2))
    return [
        Stage("both", first, steps[0], stage_config(optimizer="muon", **changes), one),
        Stage("decoder", second, steps[1], stage_config(**changes), two),
    ]


def make_config(**changes):
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.mesh = dict(data=-1, fsdp=1, model=1)
    config.ema = 0.9
    config.log_every = 5
    config.eval_every = 0
    config.checkpoint = dict(every=0, keep=2, best="", best_mode="max")
    config.max_seconds = 0.0
    config.resume = ""
    config.init_from = ""
    for key, value in changes.items():
        config[key] = value
    return config


def run(workdir, *, stages=None, init=init, evaluate=None, **changes) -> Any:
    return train(make_config(**changes), workdir, stages=stages or make_stages(), init=init, evaluate=evaluate)


@jax.jit
def predict(params, x):
    return MODEL.apply({"params": params}, x)


def evaluate(params, step, stage):
    """As a real evaluator does: compiled, over arrays of its own, and read back whole."""
    x = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    return {"psnr": float(np.abs(np.asarray(predict(params, x))).mean())}, {}


def killed_while_saving(save, at):
    """`Checkpoints.save` of a process that is killed at a step, with its part of the checkpoint under way."""

    def save_and_die(self, step, *args, **kwargs):
        save(self, step, *args, **kwargs)
        if step == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return save_and_die


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    if port := options.pop("port", None):
        jax.distributed.initialize(f"127.0.0.1:{port}", options.pop("processes"), options.pop("process"))
    if at := options.pop("die_saving", None):
        checkpoints.Checkpoints.save = killed_while_saving(checkpoints.Checkpoints.save, at)
    stages = make_stages(options.pop("steps", (10, 10)), record=options.pop("record", None))
    run(sys.argv[1], stages=stages, evaluate=evaluate, **options)
