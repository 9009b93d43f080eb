"""How strong a degradation is: distributions of its parameters, and a config's changes to them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lure_jax.errors import UserError


class Uniform(NamedTuple):
    """Any number from `low` to `high`, all alike."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(self.low, self.high))


class LogUniform(NamedTuple):
    """A number from `low` to `high` whose logarithm is uniform."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))


class Integer(NamedTuple):
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.low, self.high, endpoint=True))


Distribution = Uniform | LogUniform | Integer
Strengths = Mapping[tuple[str, str], Mapping[str, Distribution]]


def changed(strengths: Strengths, changes: Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]]) -> Strengths:
    """The table with other bounds; the kind of a distribution stays.

    Args:
      strengths: (modality, condition) -> parameter -> distribution.
      changes: modality -> condition -> parameter -> (low, high), as in `config.data.strengths`; low = high fixes it.

    Returns:
      A new table.

    Raises:
      UserError: an unknown name, or bounds that are not two numbers in order (above 0 where logarithms are drawn).
    """
    table = {key: dict(parameters) for key, parameters in strengths.items()}
    for modality, conditions in changes.items():
        for name, bounds in conditions.items():
            place = f"config.data.strengths.{modality}.{name}"
            if (modality, name) not in table:
                raise UserError(f"{place} is no degradation; known are {', '.join(map('.'.join, table))}.")
            parameters = table[modality, name]
            for parameter, limits in bounds.items():
                if parameter not in parameters:
                    raise UserError(f"{place} has no parameter {parameter!r}; it has {', '.join(parameters)}.")
                parameters[parameter] = _bounded(parameters[parameter], limits, f"{place}.{parameter}")
    return table


def _bounded(old: Distribution, limits: tuple[float, float], place: str) -> Distribution:
    kind, lowest = type(old), 0 if isinstance(old, LogUniform) else -np.inf
    fits = len(limits) == 2 and lowest < limits[0] <= limits[1] < np.inf
    if not fits or (kind is Integer and any(value != int(value) for value in limits)):
        needed = {Uniform: "numbers", LogUniform: "numbers above 0", Integer: "whole numbers"}[kind]
        raise UserError(f"{place}={tuple(limits)} is not (low, high), two {needed} in order.")
    return kind(*(int(value) if kind is Integer else float(value) for value in limits))
