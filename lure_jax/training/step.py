"""One optimizer step: what an objective is, which parameters it trains, and the update."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
import optax.contrib
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Int

from lure_jax.training.errors import ConfigError
from lure_jax.training.mesh import gathered

Params = Any
Batch = Mapping[str, Array]
Metrics = dict[str, Array]


class Objective(Protocol):
    """What a stage minimises.

    Attributes:
        name: as the config calls it.
        lr_factors: path prefix ("encoder/up") -> factor on the learning rate. The longest prefix that ends at
            a "/" or at the end of the path wins; 1 without one; 0 freezes.
    """

    name: str
    lr_factors: Mapping[str, float]

    def begin(self, previous_aux: Any) -> Any:
        """The objective's own state (a tree of arrays) at its first step, given the stage's before (or None)."""

    def loss(
        self, params: Params, batch: Batch, rng: Array, step: Int[Array, ""], aux: Any
    ) -> tuple[Float[Array, ""], tuple[Metrics, Any]]:
        """The scalar to minimise, its terms by name, and the next aux; `step` counts within the stage."""


@flax.struct.dataclass
class TrainState:
    """All that a step reads and writes on the devices.

    Attributes:
        step: () int32, steps taken since the run began, over all stages.
        params: the parameters of all stages.
        ema: their exponential moving average, which is what is evaluated and released.
        optimizer: optax state, with moments only for what the stage trains.
        aux: the objective's own state.
    """

    step: Int[Array, ""]
    params: Params
    ema: Params
    optimizer: Any
    aux: Any


def lr_factor(path: str, factors: Mapping[str, float]) -> float:
    """The learning-rate factor of one parameter: that of the longest matching prefix, 1 without one."""
    matching = [prefix for prefix in factors if f"{path}/".startswith(f"{prefix}/")]
    return factors[max(matching, key=len)] if matching else 1.0


def check_lr_factors(params: Params, factors: Mapping[str, float]) -> None:
    """Raises ConfigError if a prefix names no parameter, or if nothing is left to train."""
    paths = list(flatten_dict(params, sep="/"))
    for prefix in factors:
        if not any(f"{path}/".startswith(f"{prefix}/") for path in paths):
            tops = ", ".join(sorted(params))
            raise ConfigError(f"lr_factors names {prefix!r}, but no parameter starts so; there are {tops}.")
    if not any(lr_factor(path, factors) > 0 for path in paths):
        raise ConfigError(f"lr_factors {dict(factors)} freezes every parameter: nothing is left to train.")


def split(params: Params, factors: Mapping[str, float]) -> tuple[Params, Params]:
    """Splits nested parameters into (trainable, frozen), two nested dicts without a leaf in common."""
    flat = flatten_dict(params)
    trainable = {path: leaf for path, leaf in flat.items() if lr_factor("/".join(path), factors) > 0}
    frozen = {path: leaf for path, leaf in flat.items() if path not in trainable}
    return unflatten_dict(trainable), unflatten_dict(frozen)


def merge(trainable: Params, frozen: Params) -> Params:
    """The inverse of `split`."""
    return unflatten_dict({**flatten_dict(frozen), **flatten_dict(trainable)})


def make_schedule(*, lr: float, final_lr: float, warmup: int, steps: int) -> optax.Schedule:
    """Linear warm-up, lr (t + 1) / (warmup + 1), then a cosine to `final_lr` at the stage's end."""
    return optax.schedules.warmup_cosine_decay_schedule(lr / (warmup + 1), lr, warmup, steps, final_lr)


OPTIMIZERS = ("adamw", "muon")
ADAM_SHARE = 0.15  # of Muon's learning rate, for what is not a matrix


def make_optimizer(
    schedule: optax.Schedule, *, name: str, weight_decay: float, clip: float, lr_factors: Mapping[str, float]
) -> optax.GradientTransformation:
    """AdamW or Muon after a clip of the global norm, with a factor a path prefix.

    Args:
        schedule: learning rate by stage-local step.
        name: "adamw" (Loshchilov and Hutter, 2019), or "muon" (Jordan, 2024): momentum of the kernels of 1x1s and
            dense convolutions made orthogonal, Adam at 0.15 of the learning rate for all other parameters.
        weight_decay: decoupled decay, on kernels alone (AdamW: two axes or more; Muon: what it makes orthogonal).
        clip: largest global norm of the gradient of the trainable parameters; 0 does not clip.
        lr_factors: as in `Objective`.

    Raises:
        ConfigError: there is no optimizer of that name.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"config.stages.*.optimizer={name!r} is not known; choose one of {', '.join(OPTIMIZERS)}.")

    def scale_by_prefix(updates: Params, params: Params) -> Params:
        flat = flatten_dict(updates)
        return unflatten_dict({path: leaf * lr_factor("/".join(path), lr_factors) for path, leaf in flat.items()})

    if name == "muon":
        rule = optax.contrib.muon(
            schedule,
            weight_decay=weight_decay,
            adam_learning_rate=lambda step: ADAM_SHARE * schedule(step),
            muon_weight_dimension_numbers=_matrices,
        )
    else:
        kernels = lambda params: jax.tree.map(lambda p: p.ndim >= 2, params)  # noqa: E731
        rule = optax.adamw(schedule, weight_decay=weight_decay, mask=kernels)
    return optax.chain(
        optax.clip_by_global_norm(clip) if clip > 0 else optax.identity(), rule, optax.stateless(scale_by_prefix)
    )


def _matrices(params: Params) -> Any:
    """How Muon reads the kernels of 1x1s (in, out) and convolutions (height, width, in, out); None for all others."""
    read = {2: optax.contrib.MuonDimensionNumbers(0, 1), 4: optax.contrib.MuonDimensionNumbers((0, 1, 2), 3)}
    return jax.tree.map(lambda p: read.get(p.ndim), params)


def make_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    ema: float,
    first_step: int,
    microbatches: int = 1,
    shardings: Params | None = None,
) -> Callable[[TrainState, Batch, Array], tuple[TrainState, Metrics]]:
    """Makes the function of one optimizer step, to be compiled by the caller.

    The gradient is taken of the trainable parameters alone, so the compiler drops the backward pass of the
    frozen ones. The average follows `ema + (1 - d)(params - ema)`, d = min(ema, (1 + t)/(10 + t)).

    Args:
        objective: what to minimise.
        optimizer: from `make_optimizer`.
        schedule: the optimizer's, to report the learning rate.
        ema: decay of the average at the end of its warm-up, in [0, 1).
        first_step: the global step at which the stage begins.
        microbatches: parts of the batch whose gradients are taken one after the other, and averaged: the memory of
            a part is enough. An objective that is a mean over samples does not change.
        shardings: of the parameters, which are gathered over fsdp to compute, and of their gradients; None does
            without.

    Returns:
        (state, batch, seed key) -> (state, metrics): loss, the objective's terms, grad_norm before the clip, lr.
    """
    whole = None if shardings is None else gathered(shardings)
    own = None if shardings is None else split(shardings, objective.lr_factors)[0]

    def placed(tree: Params, where: Params | None) -> Params:
        return tree if where is None else jax.lax.with_sharding_constraint(tree, where)

    def step(state: TrainState, batch: Batch, key: Array) -> tuple[TrainState, Metrics]:
        local = state.step - first_step
        rng = jax.random.fold_in(key, state.step)
        trainable, frozen = split(state.params, objective.lr_factors)

        def gradient(batch: Batch, rng: Array) -> tuple[tuple[Array, tuple[Metrics, Any]], Params]:
            def loss_fn(trainable: Params) -> tuple[Array, tuple[Metrics, Any]]:
                params = placed(merge(trainable, frozen), whole)
                return objective.loss(params, batch, rng, local, state.aux)

            measured, grads = jax.value_and_grad(loss_fn, has_aux=True)(trainable)
            return measured, placed(grads, own)

        if microbatches == 1:
            (loss, (terms, aux)), grads = gradient(batch, rng)
        else:
            (loss, (terms, aux)), grads = _accumulate(gradient, batch, rng, microbatches, trainable)
        updates, moments = optimizer.update(grads, state.optimizer, trainable)
        trainable = optax.apply_updates(trainable, updates)

        decay = jnp.minimum(ema, (1 + local) / (10 + local))
        average, frozen_average = split(state.ema, objective.lr_factors)
        average = jax.tree.map(lambda mean, new: mean + (1 - decay) * (new - mean), average, trainable)
        metrics = {**terms, "loss": loss, "grad_norm": optax.tree.norm(grads), "lr": schedule(local)}
        new = TrainState(
            step=state.step + 1,
            params=merge(trainable, frozen),
            ema=merge(average, frozen_average),
            optimizer=moments,
            aux=aux,
        )
        return new, metrics

    return step


def _accumulate(gradient: Callable, batch: Batch, rng: Array, parts: int, params: Params) -> Any:
    """The mean over the parts of a batch of what `gradient` gives: every `parts`-th sample, so that none moves.

    Of an aux, counts are those of the last part: each begins from the step's own aux.
    """

    def divide(x: Array) -> Array:
        x = x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)
        return nn.with_logical_constraint(x, (None, "batch") + (None,) * (x.ndim - 2))

    def add(total: Params, part: tuple[Batch, Array]) -> tuple[Params, Any]:
        samples, index = part
        measured, grads = gradient(samples, jax.random.fold_in(rng, index))
        return jax.tree.map(jnp.add, total, grads), measured

    zeros = jax.tree.map(jnp.zeros_like, params)
    total, measured = jax.lax.scan(add, zeros, (jax.tree.map(divide, dict(batch)), jnp.arange(parts)))
    mean = lambda x: x.mean(0) if jnp.issubdtype(x.dtype, jnp.floating) else x[-1]  # noqa: E731
    return jax.tree.map(mean, measured), jax.tree.map(lambda grad: grad / parts, total)
