"""The training loop: mesh, shapes, restore, steps; read it from top to bottom."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh
from orbax.checkpoint import multihost

from lure_jax.paths import absolute
from lure_jax.training import checkpoints
from lure_jax.training import state as state_lib
from lure_jax.training.errors import ConfigError
from lure_jax.training.mesh import batch_sharding, make_mesh, process_share, replicated, use_mesh
from lure_jax.training.meter import Meter
from lure_jax.training.peers import leave_when_lost
from lure_jax.training.progress import METRICS, MetricsWriter, Progress
from lure_jax.training.state import Plan, Stage
from lure_jax.training.step import Batch, Params, TrainState
from lure_jax.training.stop import Stop

SLOWEST_COMPILE_MS = 30 * 60 * 1000

Evaluate = Callable[[Params, int, str], tuple[Mapping[str, float], Mapping[str, np.ndarray]]]


def train(
    config: Any,
    workdir: epath.PathLike,
    *,
    stages: Sequence[Stage],
    init: Callable[[jax.Array], Any],
    evaluate: Evaluate | None = None,
    load_params: Callable[[str, Params, str], Params] = checkpoints.load_average,
    text: str = "",
) -> TrainState:
    """Runs a recipe from wherever it stands to its end, to SIGTERM or to `config.max_seconds`.

    It begins at the workdir's own last checkpoint, else at that of `config.resume` (another workdir, taken up
    whole), else with the parameters of `config.init_from`, else from scratch. A run that was stopped and resumed
    is bit-identical to one that was not; on other devices it goes on with the same samples. A stage starts from the
    averaged parameters of the one before.

    Args:
        config: seed, mesh, ema, log_every, eval_every, checkpoint, max_seconds, resume, init_from.
        workdir: local or bucket path for checkpoints, metrics and pictures.
        stages: the recipe.
        init: random key -> parameters of all stages in Flax's partitioning boxes.
        evaluate: (averaged parameters, step, stage name) -> (scalars, uint8 (H, W, 3) pictures), called every
            `config.eval_every` steps (0: never) and at the end of each stage.
        load_params: (config.init_from, shapes with shardings, text) -> parameters; top-level prefixes that it
            leaves out start as `init` makes them.
        text: what the model reads as text; a checkpoint that was trained to read another is refused.

    Returns:
        The state at which it stopped, already saved.

    Raises:
        ConfigError: the config, the checkpoint or the data don't fit together.
        FloatingPointError: the loss or gradient is not finite; such a state is never saved.
    """
    workdir = absolute(workdir)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(Stop(config.max_seconds))

        # Mesh, shapes and shardings: nothing large is made yet
        mesh = make_mesh(config.mesh)
        make_keys = jax.jit(lambda: jax.random.split(jax.random.key(config.seed)), out_shardings=replicated(mesh))
        init_key, step_key = make_keys()
        abstract, left_whole = state_lib.abstract_params(init, init_key, mesh)
        plans = state_lib.make_plans(stages, abstract, ema=config.ema, mesh=mesh)
        total, share = plans[-1].last, process_share(mesh)

        # Where to begin
        saver = checkpoints.Checkpoints(
            workdir,
            keep=config.checkpoint.keep,
            best=config.checkpoint.best,
            best_mode=config.checkpoint.best_mode,
        )
        stack.callback(saver.close)
        found = _find(config, workdir, plans, text)
        if found:
            source, step, plan = found
            state = checkpoints.restore(source, step, plan.abstract)
            taken = checkpoints.saved_samples(source, step)
            taken = (step - plan.first) * plan.stage.config.batch if taken is None else taken
            origin = f"step {step} of {source}"
        else:
            step, plan, taken = 0, plans[0], 0
            if config.init_from:
                loaded = load_params(config.init_from, abstract, text)
                params = state_lib.complete(loaded, init, init_key, abstract)
            else:
                params = state_lib.init_params(init, init_key, abstract)
            state = state_lib.begin_stage(plan, params, None)
            origin = f"the parameters of {config.init_from}" if config.init_from else "scratch"
        data = plan.stage.make_data(start=taken, share=share)

        writer = MetricsWriter(workdir, first=step)
        stack.callback(writer.close)
        progress = Progress(total, first=step)
        stack.callback(progress.close)
        progress.note(_describe(abstract, plans, mesh))
        for line in left_whole:
            progress.note(f"not sharded: {line}")
        progress.note(f"starting from {origin}")

        # What evaluates reads whole parameters, on every device of the mesh over which it spreads its images
        gather = jax.jit(lambda params: params, out_shardings=replicated(mesh))

        # The steps of all stages
        stack.enter_context(leave_when_lost(workdir))
        compiled, meter = None, Meter(plan.stage.name)
        while step < total:
            batch = _to_devices(meter.next_batch(data), plan.stage.config.batch, mesh)
            if compiled is None:
                began = time.monotonic()
                progress.note(f"stage {plan.stage.name!r}: compiling its step")
                compiled = compile_step(plan, batch, step_key, mesh)
                # An exchange waits for the slowest compiler half a minute, and no longer
                multihost.get_barrier_sync_fn()(key=f"compiled {plan.stage.name}", timeout_ms=SLOWEST_COMPILE_MS)
                progress.note(f"stage {plan.stage.name!r}: compiled in {time.monotonic() - began:.1f} s")
                meter.restart()
            with jax.transfer_guard("disallow"):
                state, metrics = compiled(state, batch, step_key)
            step, taken = step + 1, taken + plan.stage.config.batch
            meter.add(step, metrics, plan.stage.config.batch)
            progress.tick(step)

            why_stop = stop.reason(step)
            at_end = step == plan.last
            evaluating = evaluate is not None and (at_end or _due(step, config.eval_every))
            saving = at_end or _due(step, config.checkpoint.every) or bool(why_stop)
            saving |= evaluating and bool(config.checkpoint.best)
            scores: Mapping[str, float] = {}
            if saving or evaluating or _due(step, config.log_every):
                summary = meter.read()
                writer.scalars("train", plan.stage.name, step, summary)
                progress.show(plan.stage.name, step, summary)
            if evaluating:
                scores, pictures = evaluate(gather(state.ema), step, plan.stage.name)
                scores = {name: float(score) for name, score in scores.items()}
                writer.scalars("eval", plan.stage.name, step, scores)
                writer.pictures(step, pictures)
                progress.note(f"evaluated at step {step}: {_words(scores)}")
            if at_end and step < total:  # what is saved here belongs to the next stage
                _close(data)
                plan = plans[plans.index(plan) + 1]
                state = state_lib.begin_stage(plan, state.ema, state.aux)
                data, taken = plan.stage.make_data(start=0, share=share), 0
                compiled, meter = None, Meter(plan.stage.name)
            if saving:
                writer.flush()
                saver.save(step, state, stage=plan.stage.name, samples=taken, text=text, scores=scores)
            if evaluating or saving:
                meter.restart()
            if why_stop and step < total:
                progress.note(f"stopped at step {step} of {total} ({why_stop}): the same command continues")
                break
        _close(data)

    if jax.process_index() == 0:
        print(f"step {step} of {total}: checkpoints, {METRICS}, tensorboard and pictures are in {workdir}")
    return state


def compile_step(plan: Plan, batch: Batch, key: jax.Array, mesh: Mesh) -> jax.stages.Compiled:
    """Compiles a stage's step; the state is donated.

    Args:
        plan: the stage.
        batch: arrays or `ShapeDtypeStruct`s with shardings.
        key: the run's key, or its shape.
        mesh: the mesh of the run.
    """
    step = jax.jit(plan.step, donate_argnums=0, out_shardings=(plan.shardings, replicated(mesh)))
    with use_mesh(mesh):
        return step.lower(plan.abstract, batch, key).compile()


def _find(config: Any, workdir: epath.Path, plans: Sequence[Plan], text: str) -> tuple[epath.Path, int, Plan] | None:
    """The checkpoint to take up: (workdir, step, plan of the stage it belongs to)."""
    source, step = workdir, checkpoints.latest_step(workdir)
    if step is None and config.resume:
        source, step = absolute(config.resume), checkpoints.latest_step(config.resume)
        if step is None:
            raise ConfigError(f"config.resume is {config.resume!r}, but no checkpoint is there.")
    if step is None:
        return None
    checkpoints.check_text(source, step, text)
    name = checkpoints.saved_stage(source, step)
    for plan in plans:
        if plan.stage.name == name and plan.first <= step <= plan.last:
            return source, step, plan
    spans = ", ".join(f"{plan.stage.name} {plan.first}..{plan.last}" for plan in plans)
    raise ConfigError(f"{source} was saved at step {step} of stage {name!r}, which this recipe ({spans}) lacks.")


def _to_devices(batch: Batch, size: int, mesh: Mesh) -> Batch:
    """This process's share of a batch of `size` as global arrays."""
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, array, (size, *array.shape[1:]))
        for name, array in batch.items()
    }


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _close(data: Any) -> None:
    if hasattr(data, "close"):
        data.close()


def _words(scalars: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in scalars.items())


def _describe(params: Params, plans: Sequence[Plan], mesh: Mesh) -> str:
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    sizes = ", ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    recipe = ", ".join(f"{plan.stage.name} {plan.stage.steps}" for plan in plans)
    return f"{count:,} parameters on {mesh.size} device(s) ({sizes}); steps: {recipe}"
