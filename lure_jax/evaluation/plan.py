"""What a training step needs of each chip, before a chip is rented: the real step, compiled for a pod ahead of time."""

import importlib.util
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from lure_jax.data import judged, pipeline
from lure_jax.errors import UserError
from lure_jax.models import registry as models
from lure_jax.objectives import registry as objectives
from lure_jax.training import loop, mesh
from lure_jax.training import state as states

SIDE = 640  # pixels of the stand-in image that crops are taken from; larger crops are continued by reflection


class Chip(NamedTuple):
    """What its maker says: memory in bytes, bfloat16 operations a second, bytes of memory traffic a second."""

    memory: float
    flops: float
    bandwidth: float


CHIPS = {  # https://cloud.google.com/tpu/docs/system-architecture-tpu-vm
    "v4": Chip(32e9, 275e12, 1200e9),
    "v5e": Chip(16e9, 197e12, 800e9),
    "v5p": Chip(95e9, 459e12, 2765e9),
    "v6e": Chip(32e9, 918e12, 1600e9),
}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}


class StepPlan(NamedTuple):
    """One stage's step on one chip; bytes, operations and seconds of a step.

    Attributes:
      stage: its name.
      parameters: of the model with its heads, a number.
      state: bytes of parameters, average, moments and the rest of the state on a chip.
      batch: bytes of a chip's share of a batch.
      temporary: bytes of activations and everything else that lives within a step.
      total: bytes at the peak.
      memory: bytes that the chip has; NaN where it is not known.
      flops: of a chip; NaN where the compiler refused the step for want of memory, as are traffic and seconds then.
      traffic: bytes that a chip reads from and writes to its memory, as the compiler counts them.
      seconds: `step_seconds`; NaN where the chip's rates are not known.
      utilisation: flops / seconds over what the chip can do in bfloat16.
      collectives: kind -> bytes that a chip receives; empty where the compiler refused the step.
      compile_seconds: on this machine.
      not_sharded: one sentence an axis that its mesh axes do not divide.
    """

    stage: str
    parameters: int
    state: int
    batch: int
    temporary: int
    total: int
    memory: float
    flops: float
    traffic: float
    seconds: float
    utilisation: float
    collectives: dict[str, int]
    compile_seconds: float
    not_sharded: list[str]

    @property
    def missing(self) -> float:
        """Bytes by which the step does not fit; 0 if it does."""
        return max(0.0, self.total - self.memory) if np.isfinite(self.memory) else 0.0


def plan(config: Any, topology: str = "") -> list[StepPlan]:
    """Compiles every stage's step of a recipe for a pod; no chip of it is needed, and no data.

    Args:
      config: the run's; `mesh` says how the chips are used.
      topology: a TPU's, such as "v5e:16x16" (needs libtpu); "" for the devices of this machine.

    Raises:
      UserError: an unknown topology, no libtpu, or a config that does not fit the chips.
    """
    devices = pod(topology) if topology else jax.devices()
    chip = CHIPS[topology.partition(":")[0]] if topology else Chip(_local_memory(devices[0]), np.nan, np.nan)
    grid = mesh.make_mesh(config.mesh, devices)
    model = models.build(config.model)
    heads = models.build_heads(config, model)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, left_whole = states.abstract_params(lambda key: models.initialise(model, key, heads), key, grid)
    stages = [
        states.Stage(name, objectives.build(config.stages[name], model, heads), config.stages[name].steps,
                     config.stages[name], None) for name in config.recipe
    ]  # fmt: skip
    found = []
    for each in states.make_plans(stages, params, ema=config.ema, mesh=grid):
        batch = stand_in(config, each.stage.config, grid)
        found.append(_compiled(each, batch, key, grid, chip, params, left_whole))
    return found


def pod(topology: str) -> list:
    """The devices of a TPU slice that is not here: "v5e:16x16"; UserError if there is none of the name."""
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    from jax.experimental import topologies

    kind = topology.partition(":")[0]
    if kind not in CHIPS:
        raise UserError(f"--topology {topology!r} is not known; write CHIPS:SHAPE with one of {', '.join(CHIPS)}.")
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except Exception as error:  # jax raises what libtpu says, of no class of its own
        if importlib.util.find_spec("libtpu") is None:
            raise UserError("Planning for a TPU needs its compiler: pip install 'lure-jax[tpu-plan]'.") from error
        raise UserError(f"--topology {topology!r} can't be planned for: {str(error).splitlines()[0]}") from error


def stand_in(config: Any, stage: Any, grid: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a stage's batch on a mesh, taken from one sample of an image that is all zero."""
    sharding = mesh.batch_sharding(grid)
    sample = _sample(config, stage)(np.random.default_rng(0))
    return {
        name: jax.ShapeDtypeStruct((stage.batch, *np.shape(x)), np.asarray(x).dtype, sharding=sharding)
        for name, x in sample.items()
    }


def _sample(config: Any, stage: Any) -> Callable[[np.random.Generator], Mapping[str, np.ndarray]]:
    grey, colour = np.zeros((SIDE, SIDE, 1), np.uint8), np.zeros((SIDE, SIDE, 3), np.uint8)
    if stage.pool == "restoration":
        row = config.data.restoration[0]
        made = pipeline.restoration_sample(config.data, row, row.conditions[0], stage.crop)
        element = dict.fromkeys(pipeline.restoration_keys(row), colour)
    elif stage.pool == "fusion":
        row = config.data.fusion[0]
        made = pipeline.fusion_sample(config.data, row, stage.crop)
        element = dict(zip(pipeline.fusion_keys(row), (colour, grey, grey), strict=False))
    else:
        row = config.data.judged[0]
        made = judged.JudgedSample(stage.crop, config.model.classes)
        truth = {"boxes": np.zeros((0, 4), np.float32), "box_labels": np.zeros(0, int)}
        element = {"image": colour} | ({"labels": grey[..., 0]} if row.truth == "labels" else truth)
    return lambda rng: made.random_map(element, rng)


def _compiled(each, batch, key, grid: Mesh, chip: Chip, params, left_whole: list[str]) -> StepPlan:
    began = time.perf_counter()
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=mesh.replicated(grid))
    held = dict(
        stage=each.stage.name,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        state=sum(map(shard_bytes, jax.tree.leaves(each.abstract))),
        batch=sum(map(shard_bytes, batch.values())),
        memory=chip.memory,
        not_sharded=left_whole,
    )
    try:
        compiled = loop.compile_step(each, batch, key, grid)
    except jax.errors.JaxRuntimeError as error:
        temporary = exhausted_bytes(str(error))
        if not temporary:
            raise
        return StepPlan(
            **held,
            temporary=temporary,
            total=held["state"] + held["batch"] + temporary,
            **dict.fromkeys(("flops", "traffic", "seconds", "utilisation"), np.nan),
            collectives={},
            compile_seconds=time.perf_counter() - began,
        )
    seconds = time.perf_counter() - began
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    flops, traffic = float(cost.get("flops", np.nan)), float(cost.get("bytes accessed", np.nan))
    optimal = step_seconds(flops, traffic, float(cost.get("optimal_seconds", np.nan)), chip)
    return StepPlan(
        **held,
        temporary=memory.temp_size_in_bytes,
        total=memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes,
        flops=flops,
        traffic=traffic,
        seconds=optimal,
        utilisation=flops / optimal / chip.flops,
        collectives=collective_bytes(compiled.as_text()),
        compile_seconds=seconds,
    )  # fmt: skip


def exhausted_bytes(message: str) -> int:
    """What a step needs for its temporaries, from the TPU compiler's refusal of one that does not fit; 0 if it is none.

    The compiler says "RESOURCE_EXHAUSTED: ... required for HLO temporaries (32.01G) exceeds available HBM (15.75G)", or
    "... Used 32.01G of 15.75G hbm ...".
    """
    found = re.search(r"RESOURCE_EXHAUSTED.*?(?:temporaries \(|Used )([\d.]+)([KMGT])", message, re.DOTALL)
    return round(float(found[1]) * 1024 ** ("KMGT".index(found[2]) + 1)) if found else 0


def step_seconds(flops: float, traffic: float, optimal: float, chip: Chip) -> float:
    """The compiler's own estimate `optimal`; where it has none (zero, negative or NaN), the roofline.

    The roofline is the least the step can take: operations in bfloat16 or traffic, and no communication.
    """
    return optimal if optimal > 0 else float(np.maximum(flops / chip.flops, traffic / chip.bandwidth))


def shard_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    """Bytes of an array on one device."""
    shape = leaf.sharding.shard_shape(leaf.shape)
    return int(np.prod(shape, dtype=np.int64)) * leaf.dtype.itemsize


def collective_bytes(hlo: str) -> dict[str, int]:
    """Bytes of the results of a compiled program's collectives, by kind; asynchronous ones count at their start."""
    found: dict[str, int] = {}
    kinds = "|".join(COLLECTIVES)
    for shapes, kind in re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", hlo):
        arrays = re.findall(r"(\w+)\[([\d,]*)\]", shapes)
        sizes = [BYTES.get(dtype, 0) * int(np.prod([int(n) for n in dims.split(",") if n])) for dtype, dims in arrays]
        found[kind] = found.get(kind, 0) + sum(sizes)
    return found


def as_row(step: StepPlan) -> dict[str, Any]:
    """A row of the table: bytes in megabytes, operations in GFLOP, time in ms."""
    fits = "yes" if not step.missing else f"no: {step.missing / 1e6:,.0f} MB too much"
    return {
        "stage": step.stage,
        "parameters": f"{step.parameters:,}",
        "state MB": step.state / 1e6,
        "batch MB": step.batch / 1e6,
        "temporary MB": step.temporary / 1e6,
        "total MB": step.total / 1e6,
        "fits": fits if np.isfinite(step.memory) else "",
        "GFLOP": _if_known(step.flops / 1e9),
        "traffic GB": _if_known(step.traffic / 1e9),
        "ms": _if_known(step.seconds * 1e3),
        "MFU %": _if_known(100 * step.utilisation),
        "collective MB": sum(step.collectives.values()) / 1e6,
        "compile s": step.compile_seconds,
    }


def as_json(steps: list[StepPlan]) -> list[dict[str, Any]]:
    """Everything, in bytes, operations and seconds."""
    return [step._asdict() | {"missing": step.missing} for step in steps]


def _if_known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _local_memory(device) -> float:
    statistics = device.memory_stats() if device.platform != "cpu" else None
    return float(statistics["bytes_limit"]) if statistics else np.nan
