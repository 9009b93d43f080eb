"""Stages and their train state: shapes and shardings first, arrays after."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from lure_jax.training import mesh as meshes
from lure_jax.training import step as steps
from lure_jax.training.errors import ConfigError
from lure_jax.training.step import TrainState


@dataclasses.dataclass(frozen=True)
class Stage:
    """One act of a recipe.

    Attributes:
        name: as in `config.recipe`.
        objective: what it minimises.
        steps: how many optimizer steps it takes.
        config: batch (global), microbatches, optimizer, lr, final_lr, warmup (steps), weight_decay, clip.
        make_data: (start=, share=(index, count)) -> iterator over a process's share of the batches, from the stage's
            sample `start` on: dicts of NumPy arrays (batch / count, ...).
    """

    name: str
    objective: steps.Objective
    steps: int
    config: Any
    make_data: Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A stage on its mesh, ready to compile.

    Attributes:
        stage: the stage.
        first, last: its global steps: it holds states from `first` (fresh) to `last` (done).
        optimizer: its optax transformation.
        step: (state, batch, key) -> (state, metrics), not compiled.
        abstract: `TrainState` of `ShapeDtypeStruct` with shardings.
    """

    stage: Stage
    first: int
    last: int
    optimizer: optax.GradientTransformation
    step: Callable
    abstract: TrainState

    @property
    def shardings(self) -> TrainState:
        """The tree of shardings of the state."""
        return jax.tree.map(lambda leaf: leaf.sharding, self.abstract)


def abstract_params(init: Callable, key: jax.Array, mesh: Mesh) -> tuple[Any, list[str]]:
    """Shapes and shardings of the parameters without making them, and what had to stay replicated."""
    boxed = jax.eval_shape(init, key)
    shardings, left_whole = meshes.param_shardings(boxed, mesh)
    return _with_shardings(nn.unbox(boxed), shardings), left_whole


def init_params(init: Callable, key: jax.Array, abstract: Any) -> Any:
    """Makes the parameters, each shard on its own device."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    # It runs once, and a CPU compiles its hundreds of random draws for half a minute unless told not to optimise
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
    return jax.jit(lambda key: nn.unbox(init(key)), out_shardings=shardings, compiler_options=options)(key)


def complete(params: Any, init: Callable, key: jax.Array, abstract: Any) -> Any:
    """Parameters as they are given, and freshly made ones of the top-level prefixes that are missing."""
    missing = {prefix: tree for prefix, tree in abstract.items() if prefix not in params}
    if not missing:
        return params
    return {**params, **init_params(lambda key: {prefix: init(key)[prefix] for prefix in missing}, key, missing)}


def make_plans(stages: Sequence[Stage], params: Any, *, ema: float, mesh: Mesh, aux: Any = None) -> list[Plan]:
    """Lays the stages end to end and works out the state of each.

    Args:
        stages: in order; the aux of one is what the next one's objective begins from.
        params: from `abstract_params`.
        ema: decay of the averaged parameters.
        mesh: the mesh of the run.
        aux: what the first stage's objective begins from.

    Returns:
        One plan a stage.

    Raises:
        ConfigError: a stage without steps, a batch that does not divide, learning-rate factors that fit nothing.
    """
    plans: list[Plan] = []
    for stage in stages:
        _check(stage, params, mesh)
        first = plans[-1].last if plans else 0
        factors, config = stage.objective.lr_factors, stage.config
        schedule = steps.make_schedule(
            lr=config.lr, final_lr=config.final_lr, warmup=config.warmup, steps=stage.steps
        )
        optimizer = steps.make_optimizer(
            schedule, name=config.optimizer, weight_decay=config.weight_decay, clip=config.clip, lr_factors=factors
        )
        aux = jax.eval_shape(stage.objective.begin, aux)
        abstract = _abstract_state(params, optimizer, factors, aux, mesh)
        step = steps.make_step(
            stage.objective,
            optimizer,
            schedule,
            ema=ema,
            first_step=first,
            microbatches=config.microbatches,
            shardings=jax.tree.map(lambda leaf: leaf.sharding, params),
        )
        plans.append(Plan(stage, first, first + stage.steps, optimizer, step, abstract))
    return plans


def begin_stage(plan: Plan, average: Any, previous_aux: Any) -> TrainState:
    """The state at a stage's first step: parameters start from the average, the optimizer is fresh.

    Args:
        plan: the stage.
        average: the EMA of the stage before, or the initial parameters.
        previous_aux: the aux of the stage before, or None.
    """

    def begin(average: Any, previous_aux: Any) -> TrainState:
        trainable, _ = steps.split(average, plan.stage.objective.lr_factors)
        return TrainState(
            step=jnp.asarray(plan.first, jnp.int32),
            params=jax.tree.map(jnp.copy, average),  # the state is donated: two names of one buffer can't be
            ema=jax.tree.map(jnp.copy, average),
            optimizer=plan.optimizer.init(trainable),
            aux=plan.stage.objective.begin(previous_aux),
        )

    return jax.jit(begin, out_shardings=plan.shardings)(average, previous_aux)


def _abstract_state(params: Any, optimizer: Any, factors: Any, aux: Any, mesh: Mesh) -> TrainState:
    whole = meshes.replicated(mesh)
    trainable, _ = steps.split(params, factors)
    moments = jax.eval_shape(optimizer.init, trainable)
    moment_shardings = optax.tree_utils.tree_map_params(
        optimizer,
        lambda moment, param: moment if _is_masked(moment) else param.sharding,
        moments,
        trainable,
        transform_non_params=lambda _: whole,
        is_leaf=_is_masked,
    )
    return TrainState(
        step=jax.ShapeDtypeStruct((), jnp.int32, sharding=whole),
        params=params,
        ema=params,
        optimizer=_with_shardings(moments, moment_shardings),
        aux=_with_shardings(aux, jax.tree.map(lambda _: whole, aux)),
    )


def _is_masked(moment: Any) -> bool:
    """Where an optimizer of several rules keeps nothing for a parameter of another rule."""
    return isinstance(moment, optax.MaskedNode)


def _with_shardings(tree: Any, shardings: Any) -> Any:
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings)


def _check(stage: Stage, params: Any, mesh: Mesh) -> None:
    if stage.steps < 1:
        raise ConfigError(f"config.stages.{stage.name}.steps is {stage.steps}, but a stage takes at least one.")
    if not 0 <= stage.config.warmup < stage.steps:
        raise ConfigError(
            f"config.stages.{stage.name}.warmup is {stage.config.warmup} steps, but must be at least 0 and less "
            f"than the stage's {stage.steps} steps."
        )
    parts, micro = mesh.shape["data"] * mesh.shape["fsdp"], stage.config.microbatches
    if micro < 1 or stage.config.batch % (parts * micro):
        raise ConfigError(
            f"config.stages.{stage.name}.batch is {stage.config.batch}, but must be divisible by the "
            f"{parts} devices along data and fsdp times microbatches={micro}."
        )
    steps.check_lr_factors(params, stage.objective.lr_factors)
