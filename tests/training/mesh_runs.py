"""Real objectives on networks of a few thousand parameters, on one device and on meshes of eight.

As a script, the process that test_meshes.py starts: prints, as JSON, what every mesh made of each objective.
"""

import functools
import json
import sys

import jax
import numpy as np

from configs import common
from lure_jax.models import registry as models
from lure_jax.models.lure import Lure
from lure_jax.models.segmentation import Heads, HeadSizes
from lure_jax.models.sizes import Sizes
from lure_jax.models.two_stream import TwoStream, TwoStreamSizes
from lure_jax.objectives import registry as objectives
from lure_jax.objectives.schedules import start_average
from lure_jax.text.conditions import CONDITIONS
from lure_jax.training import loop, mesh
from lure_jax.training import state as states

MESHES = {"one": (1, 1, 1), "data": (8, 1, 1), "fsdp": (1, 8, 1), "model": (2, 1, 4), "all": (2, 2, 2)}
STEPS, BATCH = 20, 8


def lure() -> Lure:
    """One level: a convolution, the text's attention, Restormer's block, and the fuser's cross-attention."""
    return Lure(Sizes(2, (16,), (1,), (4,), 16, 0, 0, 16, 1.5))


def two_stream() -> tuple[TwoStream, Heads]:
    model = TwoStream(TwoStreamSizes((8, 16), (0, 1), lite=True))
    return model, Heads(model.sizes.feature_widths, model.sizes.feature_stride, HeadSizes(16, (8,), 1, True), 8)


def restoration(crop: int):
    """Batches of the restoration pool's keys, of smooth pictures with noise on them."""
    rng = np.random.default_rng(0)
    while True:
        reference = pictures(rng, crop, 3)
        yield {
            "degraded": np.clip(reference + rng.normal(0, 0.1, reference.shape), 0, 1).astype(np.float32),
            "reference": reference,
            "modality": rng.integers(0, 2, BATCH).astype(np.int32),
            "conditions": rng.integers(0, 2, (BATCH, len(CONDITIONS))).astype(np.float32),
            "reference_conditions": np.zeros((BATCH, len(CONDITIONS)), np.float32),
            "prompt_ids": rng.integers(0, 20, (BATCH, 2)).astype(np.int32),
        }


def fusion(crop: int):
    """Batches of the fusion pool's keys that SSVIF reads."""
    rng = np.random.default_rng(0)
    while True:
        pair = {"visible": pictures(rng, crop, 3), "infrared": pictures(rng, crop, 1)}
        yield pair | {f"{name}_reference": image for name, image in pair.items()}


def pictures(rng, crop: int, channels: int) -> np.ndarray:
    x = np.linspace(0, 3, crop, dtype=np.float32)
    waves = np.sin(x[:, None] * rng.normal(size=(BATCH, 1, 1)) + x * rng.normal(size=(BATCH, 1, 1)) + 1)
    noise = rng.normal(0, 0.05, (BATCH, crop, crop, channels))
    return np.clip(0.5 + 0.4 * waves[..., None] + noise, 0, 1).astype(np.float32)


def space():
    """LURE's first stage with Muon, whose updates mix whole matrices."""
    stage = common.stage("lure_space", "restoration", STEPS, BATCH, 16, 3e-4, optimizer="muon", warmup=2)
    return lure(), None, stage, restoration(16), None


def consistency():
    """SSVIF's second stage: batch norm over the whole batch, random windows, an aux that is averaged."""
    stage = common.stage("ssvif_joint", "fusion", STEPS, BATCH, 32, 1e-3, warmup=2, weights="dynamic")
    return *two_stream(), stage, fusion(32), start_average()


def make_params(abstract):
    """Random parameters without a compilation; what starts at zero does not, so that every gradient is there."""
    rng = np.random.default_rng(0)

    def draw(leaf):
        noise = rng.normal(size=leaf.shape) / np.prod(leaf.shape[:-1], initial=4.0) ** 0.5
        return jax.device_put((noise + (leaf.ndim == 1)).astype(np.float32), leaf.sharding)

    return jax.tree.map(draw, abstract)


def run(recipe, sizes) -> dict:
    """Losses and gradient norms on a mesh, the bytes of the state's shards, and what is not sharded."""
    model, heads, config, batches, aux = recipe()
    grid = mesh.make_mesh(dict(zip(mesh.AXES, sizes, strict=True)), jax.devices()[: int(np.prod(sizes))])
    init = functools.partial(models.initialise, model, heads=heads)
    abstract, left_whole = states.abstract_params(init, jax.random.key(0), grid)
    stage = states.Stage("stage", objectives.build(config, model, heads), STEPS, config, None)
    (plan,) = states.make_plans([stage], abstract, ema=0.99, mesh=grid, aux=aux)
    aux = jax.device_put(aux, mesh.replicated(grid))
    state = states.begin_stage(plan, make_params(abstract), aux)
    key = jax.device_put(jax.random.key(1), mesh.replicated(grid))
    compiled, metrics = None, []
    for _ in range(STEPS):
        batch = jax.device_put(next(batches), mesh.batch_sharding(grid))
        compiled = compiled or loop.compile_step(plan, batch, key, grid)
        state, measured = compiled(state, batch, key)
        metrics.append(measured)
    metrics = jax.device_get(metrics)
    return {
        "loss": [float(m["loss"]) for m in metrics],
        "grad_norm": [float(m["grad_norm"]) for m in metrics],
        "bytes": device_bytes(state),
        "left_whole": left_whole,
    }


def device_bytes(tree) -> list[int]:
    """Bytes of a tree of arrays on each of this process's devices."""
    total = dict.fromkeys(jax.local_devices(), 0)
    for leaf in jax.tree.leaves(tree):
        for shard in leaf.addressable_shards:
            total[shard.device] += shard.data.nbytes
    return [total[device] for device in jax.local_devices()]


if __name__ == "__main__":
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    wanted = json.loads(sys.argv[1])
    print(json.dumps({name: {m: run(globals()[name], MESHES[m]) for m in those} for name, those in wanted.items()}))
