"""Prompts: numbered training sentences, how they are drawn, and free sentences resolved."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from lure_jax.text.conditions import CONDITIONS
from lure_jax.text.paraphrases import PARAPHRASES
from lure_jax.text.sentences import Resolved, resolve, warning

__all__ = [
    "PARAPHRASES",
    "PROMPTS",
    "PROMPT_CONDITIONS",
    "Resolved",
    "draw_prompts",
    "prompt_ids",
    "resolve",
    "warning",
]

PROMPTS: tuple[str, ...] = tuple(s for condition in CONDITIONS for s in PARAPHRASES[condition])
PROMPT_CONDITIONS: Int[np.ndarray, "N"] = np.repeat(
    np.arange(len(CONDITIONS), dtype=np.int32), [len(PARAPHRASES[condition]) for condition in CONDITIONS]
)
_FIRST = np.searchsorted(PROMPT_CONDITIONS, np.arange(len(CONDITIONS) + 1))


def draw_prompts(
    rng: np.random.Generator, condition_ids: Sequence[int], slots: int
) -> Int[np.ndarray, "{slots}"]:
    """One random paraphrase for each condition of an image.

    Args:
      rng: The caller's generator; the same state gives the same prompts.
      condition_ids: At least one and at most `slots` condition indices, [clean] for a clean image.
      slots: Length of the result.

    Returns:
      int32 indices into `PROMPTS`, (slots,), in the order of the conditions, then -1.

    Raises:
      ValueError: If there is no condition, more than `slots`, or one outside [0, 13).
    """
    return _fill([rng.integers(_FIRST[c], _FIRST[c + 1]) for c in _checked(condition_ids, slots)], slots)


def prompt_ids(condition_ids: Sequence[int], slots: int) -> Int[np.ndarray, "{slots}"]:
    """The first paraphrase of each condition: `draw_prompts` without chance; same arguments and errors."""
    return _fill([_FIRST[c] for c in _checked(condition_ids, slots)], slots)


def _checked(condition_ids: Sequence[int], slots: int) -> Sequence[int]:
    if not 0 < len(condition_ids) <= slots:
        raise ValueError(
            f"condition_ids has {len(condition_ids)} entries; {slots} prompt slots take 1 to {slots} "
            "(a clean image has the condition clean)."
        )
    for index in condition_ids:
        if not 0 <= index < len(CONDITIONS):
            raise ValueError(f"{index} is not a condition id; ids run from 0 to {len(CONDITIONS) - 1}.")
    return condition_ids


def _fill(ids: list[int], slots: int) -> Int[np.ndarray, "{slots}"]:
    return np.array(ids + [-1] * (slots - len(ids)), np.int32)
