"""Which conditions the text names, and which parts of the network, that rest otherwise, these ask for."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from lure_jax.text.conditions import CONDITIONS
from lure_jax.text.prompts import PROMPT_CONDITIONS

REFINING = ("denoising", "deweathering")  # only the small preset has them
BEFORE = ("levelling", "sharpening", "shrinking", "lifting", *REFINING)  # repair the image, one after the other
PARTS = ("toning", *BEFORE)  # the first adds to the latent
ASKING = {  # condition of either modality -> parts
    "low_light": ("toning",),
    "stripe": ("levelling",),
    "blur": ("sharpening",),
    "noise": ("shrinking", "denoising"),
    "haze": ("lifting",),
    "rain": ("deweathering",),
    "snow": ("deweathering",),
}
_NAMED = np.eye(len(CONDITIONS), dtype=bool)
_ASKING = {part: [i for i, c in enumerate(CONDITIONS) if part in ASKING.get(c.name, ())] for part in PARTS}


def asked_by(prompt_ids: Int[Array | np.ndarray, "B P"]) -> Bool[Array | np.ndarray, "B 13"]:
    """For each of `CONDITIONS`, whether a prompt names it; -1 is no prompt. Of a numpy array a numpy array."""
    known = isinstance(prompt_ids, np.ndarray)
    by_prompt = _NAMED[PROMPT_CONDITIONS] if known else jnp.asarray(_NAMED[PROMPT_CONDITIONS])
    return (by_prompt[prompt_ids.clip(0)] & (prompt_ids >= 0)[..., None]).any(1)


def asked_by_conditions(ids: Sequence[int]) -> Bool[np.ndarray, "13"]:
    """The same of conditions that a sentence names."""
    return _NAMED[list(ids)].any(0)


def asks_for(asked: Bool[Array | np.ndarray, "B 13"], *parts: str) -> Bool[Array | np.ndarray, "B"]:
    """Whether a condition that is named asks for one of the parts."""
    return asked[:, sorted({i for part in parts for i in _ASKING[part]})].any(1)


def naming(asked: Bool[Array | np.ndarray, "B 13"], *names: str) -> Bool[Array | np.ndarray, "B N"]:
    """Whether each of these conditions is named, of either modality."""
    known = np if isinstance(asked, np.ndarray) else jnp
    return known.stack([asked[:, [i for i, c in enumerate(CONDITIONS) if c.name == n]].any(1) for n in names], 1)
