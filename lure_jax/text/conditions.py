"""What can be wrong with a visible or an infrared image: the closed vocabulary of conditions."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MODALITIES = ("visible", "infrared")
VISIBLE = ("clean", "low_light", "over_exposure", "haze", "rain", "snow", "noise", "blur")
INFRARED = ("clean", "low_contrast", "noise", "stripe", "blur")


class Condition(NamedTuple):
    """One state of one modality, such as `Condition("infrared", "stripe")`."""

    modality: str
    name: str


CONDITIONS = tuple(
    Condition(modality, name)
    for modality, names in zip(MODALITIES, (VISIBLE, INFRARED), strict=True)
    for name in names
)
_IDS = {condition: index for index, condition in enumerate(CONDITIONS)}


def condition_id(modality: str, name: str) -> int:
    """The index of a condition in `CONDITIONS`.

    Args:
      modality: "visible" or "infrared".
      name: One of `VISIBLE` or `INFRARED`.

    Returns:
      An integer in [0, len(CONDITIONS)).

    Raises:
      ValueError: If the modality has no condition of that name.
    """
    try:
        return _IDS[Condition(modality, name)]
    except KeyError:
        known = ", ".join("/".join(condition) for condition in CONDITIONS)
        raise ValueError(f"{modality}/{name} is not a condition; known are {known}.") from None


def clean_id(modality: str) -> int:
    """The index of the modality's "clean" condition; raises ValueError for an unknown modality."""
    return condition_id(modality, "clean")


def multi_hot(ids: Iterable[int]) -> Float[np.ndarray, "13"]:
    """The target of the condition head: 1 for each condition present, "clean" being none of them.

    Args:
      ids: Condition indices of one image, in any order.

    Returns:
      float32 zeros and ones, (13,), the columns of both "clean" conditions always 0.

    Raises:
      ValueError: If an index is outside [0, 13).
    """
    target = np.zeros(len(CONDITIONS), np.float32)
    for index in ids:
        if not 0 <= index < len(CONDITIONS):
            raise ValueError(f"{index} is not a condition id; ids run from 0 to {len(CONDITIONS) - 1}.")
        target[index] = CONDITIONS[index].name != "clean"
    return target
