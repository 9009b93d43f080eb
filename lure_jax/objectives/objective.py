"""What training minimises, as one small record of pure functions."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

Loss = Callable[[Any, Mapping[str, Any], jax.Array, jax.Array, Any], tuple[jax.Array, tuple[dict, Any]]]


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss, what it carries from step to step, and which parameters it trains.

    Attributes:
      name: of the objective, as in configs.
      loss: (params, batch, rng, step, aux) -> (scalar, (metrics, aux)); `step` counts from the stage's start.
      lr_factors: parameter path prefix, such as "encoder/up_0", to learning-rate factor; the longest prefix that
        matches counts, 1 where none does, 0 = frozen.
      begin: previous stage's aux -> this stage's first aux.
    """

    name: str
    loss: Loss
    lr_factors: Mapping[str, float]
    begin: Callable[[Any], Any] = lambda previous: ()
