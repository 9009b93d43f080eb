"""The dynamic weights of SSVIF as optax schedules.

SSVIF (arXiv 2509.22450); reconstruction.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int

PEAK = 0.2  # the share of the consistency's gradient that reaches the fusion network at most
LOWEST, HIGHEST = 0.5, 1.5  # what a ratio of losses is clipped to
TOLERANCE, GUARD = 1.1, 0.5


class Weights(NamedTuple):
    """What a schedule says: w_f and w_c of the losses, and the factor on L_c's gradient into the fusion network."""

    fusion: Float[Array, ""]
    consistency: Float[Array, ""]
    gradient: Float[Array, ""]


class WeightState(NamedTuple):
    """State of `ssvif_weights`.

    Attributes:
      count: updates so far.
      mean: moving averages of (L_f, L_c).
      history: their last window + 1 values, in a ring.
      reference: Lbar_f, the average of L_f that stage 1 ended with.
    """

    count: Int[Array, ""]
    mean: Float[Array, "2"]
    history: Float[Array, "window+1 2"]
    reference: Float[Array, ""]


class ReferenceState(NamedTuple):
    """State of `constant_weights`: updates so far, and Lbar_f."""

    count: Int[Array, ""]
    reference: Float[Array, ""]


class LossAverage(NamedTuple):
    """An exponential moving average of a loss, and how many values are in it."""

    count: Int[Array, ""]
    mean: Float[Array, "*S"]


def start_average(shape: tuple[int, ...] = ()) -> LossAverage:
    """The average of no value yet."""
    return LossAverage(jnp.zeros((), jnp.int32), jnp.zeros(shape, jnp.float32))


def average(state: LossAverage, value: Float[Array, "*S"], decay: float = 0.98) -> LossAverage:
    r"""Takes one more value into an average; the first one is the average itself; no gradient.

    .. math:: m_0 = x_0, \quad m_t = d\, m_{t-1} + (1 - d)\, x_t

    Args:
      state: from `start_average` or here.
      value: the loss, the same on every host.
      decay: d in [0, 1).

    Returns:
      The next state.

    Example:
      >>> state = average(start_average(), 2.0)
      >>> print(f"{average(state, 1.0, decay=0.9).mean:.2f}")
      1.90
    """
    value = stop_gradient(jnp.asarray(value, jnp.float32))
    mean = jnp.where(state.count == 0, value, decay * state.mean + (1 - decay) * value)
    return LossAverage(state.count + 1, mean)


def gaussian_ramp(peak: float, steps: int, sharpness: float = 5.0) -> optax.Schedule:
    r"""Rises smoothly to `peak` in `steps` steps and stays there.

    .. math:: \alpha(t) = p \exp(-s (1 - \min(1, t / t_r))^2)

    Args:
      peak: p, the final value.
      steps: t_r, when it is reached; 0 starts there.
      sharpness: s; the schedule starts at p exp(-s).

    Returns:
      An `optax.Schedule`: step -> value.

    References:
      Laine and Aila, `Temporal Ensembling for Semi-Supervised Learning <https://arxiv.org/abs/1610.02242>`_, 2017.

    Example:
      >>> alpha = gaussian_ramp(0.2, steps=100)
      >>> print(" ".join(f"{alpha(t):.4f}" for t in (0, 50, 100, 900)))
      0.0013 0.0573 0.2000 0.2000
    """

    def schedule(count):
        missing = 1 - jnp.minimum(1.0, count / max(steps, 1)) if steps else 0.0
        return peak * jnp.exp(-sharpness * jnp.square(missing))

    return schedule


@dataclasses.dataclass(frozen=True)
class _Dynamic:
    """See `ssvif_weights`."""

    alpha: optax.Schedule
    window: int
    decay: float

    def init(self, reference: Float[Array, ""] | float = 1.0) -> WeightState:
        zero = start_average((2,))
        history = jnp.zeros((self.window + 1, 2), jnp.float32)
        return WeightState(zero.count, zero.mean, history, jnp.asarray(reference, jnp.float32))

    def update(self, state: WeightState, losses: Float[Array, "2"]) -> WeightState:
        count, mean = average(LossAverage(state.count, state.mean), losses, self.decay)
        history = state.history.at[state.count % (self.window + 1)].set(mean)
        return WeightState(count, mean, history, state.reference)

    def __call__(self, state: WeightState) -> Weights:
        before = state.history[state.count % (self.window + 1)]  # the oldest, `window` updates before the last
        known = state.count >= 2 * self.window
        ratio = jnp.where(known, state.mean / jnp.where(known, before, 1.0), 1.0)
        fusion, consistency = 2 * jax.nn.softmax(jnp.clip(ratio, LOWEST, HIGHEST) / 2)
        guard = jnp.where(state.mean[0] > TOLERANCE * state.reference, GUARD, 1.0)
        return Weights(fusion, consistency, guard * self.alpha(state.count))


def ssvif_weights(
    alpha: optax.Schedule, window: int = 100, decay: float = 0.98
) -> optax.schedules.StatefulSchedule:
    r"""Weighs the fusion loss and the consistency loss by how fast each of them falls (SSVIF's stage 2).

    With moving averages :math:`\bar L_k` of both losses and no gradient anywhere,

    .. math::
      r_k = \mathrm{clip}\big(\bar L_k(t) / \bar L_k(t - \mathrm{window}), 0.5, 1.5\big), \quad
      (w_f, w_c) = 2\, \mathrm{softmax}(r / 2), \quad
      a = \alpha(t) \cdot (0.5 \text{ if } \bar L_f > 1.1\, \bar L_f^{(1)} \text{ else } 1)

    so the loss that falls more slowly counts more, and the fusion network hears half as much of the consistency
    while its own loss is a tenth above what stage 1 left. All r_k are 1 before two windows have passed.

    Args:
      alpha: factor on the gradient of L_c into the fusion network, a plain `optax.Schedule`.
      window: updates between the two averages that are compared.
      decay: of the averages.

    Returns:
      An `optax.schedules.StatefulSchedule`: `init(reference)` with :math:`\bar L_f^{(1)}`, the average of L_f at the
      end of stage 1; `update(state, losses)` with the array (L_f, L_c); and the call `(state) -> Weights`. The
      state is a tree of arrays: checkpoint it with the train state.

    References:
      SSVIF, `arXiv 2509.22450 <https://arxiv.org/abs/2509.22450>`_ (reconstruction); the softmax of loss ratios is
      Liu et al., `dynamic weight averaging <https://arxiv.org/abs/1803.10704>`_, 2019.

    Example:
      >>> import jax.numpy as jnp
      >>> schedule = ssvif_weights(gaussian_ramp(0.2, steps=10), window=5, decay=0.5)
      >>> state = schedule.init(reference=1.0)
      >>> for step in range(40):  # the fusion loss stands still, the consistency loss falls
      ...     weights = schedule(state)
      ...     state = schedule.update(state, losses=jnp.array([1.0, 0.9**step]))
      >>> print(" ".join(f"{weight:.3f}" for weight in weights))
      1.102 0.898 0.200
    """
    return _Dynamic(alpha, window, decay)


@dataclasses.dataclass(frozen=True)
class _Constant:
    """See `constant_weights`."""

    gradient: float

    def init(self, reference: Float[Array, ""] | float = 1.0) -> ReferenceState:
        return ReferenceState(jnp.zeros((), jnp.int32), jnp.asarray(reference, jnp.float32))

    def update(self, state: ReferenceState, losses: Float[Array, "2"]) -> ReferenceState:
        del losses
        return ReferenceState(state.count + 1, state.reference)

    def __call__(self, state: ReferenceState) -> Weights:
        del state
        return Weights(jnp.ones(()), jnp.ones(()), jnp.full((), self.gradient))


def constant_weights(gradient: float = PEAK) -> optax.schedules.StatefulSchedule:
    """The ablation of `ssvif_weights`: w_f = w_c = 1, and one factor on the gradient from the first step on.

    Args:
      gradient: the factor.

    Returns:
      A schedule with the same three functions.

    Example:
      >>> schedule = constant_weights(0.1)
      >>> print(" ".join(f"{weight:.1f}" for weight in schedule(schedule.init(reference=0.3))))
      1.0 1.0 0.1
    """
    return _Constant(gradient)
