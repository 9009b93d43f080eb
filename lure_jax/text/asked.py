"""Which parts of the network, that rest without it, the named conditions ask for."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from lure_jax.text.conditions import CONDITIONS
from lure_jax.text.prompts import PROMPT_CONDITIONS

BEFORE = ("levelling", "sharpening", "shrinking")  # parts of the encoder that repair its image, one after the other
PARTS = ("lifting", "toning", *BEFORE)  # the first two add to its latent
ASKING = {  # condition of either modality -> part
    "haze": "lifting",
    "low_light": "toning",
    "stripe": "levelling",
    "blur": "sharpening",
    "noise": "shrinking",
}
_ASKED = np.array([[ASKING.get(condition.name) == part for part in PARTS] for condition in CONDITIONS])


def asked_by(prompt_ids: Int[Array | np.ndarray, "B P"]) -> Bool[Array | np.ndarray, "B 5"]:
    """For each of `PARTS`, whether one of the prompts asks for it; -1 is no prompt. Of a numpy array a numpy array."""
    known = isinstance(prompt_ids, np.ndarray)
    by_prompt = _ASKED[PROMPT_CONDITIONS] if known else jnp.asarray(_ASKED[PROMPT_CONDITIONS])
    return (by_prompt[prompt_ids.clip(0)] & (prompt_ids >= 0)[..., None]).any(1)


def asked_by_conditions(ids: Sequence[int]) -> Bool[np.ndarray, "5"]:
    """The same of conditions that a sentence names."""
    return _ASKED[list(ids)].any(0)


def asks_repair(asked: Bool[Array | np.ndarray, "B 5"]) -> Bool[Array | np.ndarray, "B"]:
    """Whether one of `BEFORE` is asked for."""
    return asked[:, -len(BEFORE) :].any(1)
