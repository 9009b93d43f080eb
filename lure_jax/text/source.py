"""What the networks read as text, and the text sources by name."""

import importlib
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float

# name -> "module:class"; imported when asked for, so that a source's dependencies load only with it.
SOURCES = {
    "table": "lure_jax.text.table:TableText",
    "clip": "lure_jax.text.clip_prompts:ClipText",
    "one_hot": "lure_jax.text.one_hot:OneHotText",
}


class Text(NamedTuple):
    """The prompts of a batch as tokens.

    Attributes:
      tokens: One vector a token, zero where `mask` is False.
      mask: True where a token is present.
      asked: Which conditions the text names; a numpy array where that is known while the network is traced.
    """

    tokens: Float[Array, "B L E"]
    mask: Bool[Array, "B L"]
    asked: Bool[Array | np.ndarray, "B 13"]


def text_source(name: str, width: int, prompts: Any = None) -> nn.Module:
    """The Flax module of a text source: prompt ids (B,P) int32, -1 = none, to `Text`.

    Args:
      name: A key of `SOURCES`.
      width: Length E of a token.
      prompts: `clip_prompts.PromptTokens`, for the source "clip" alone.

    Returns:
      The unbound module.

    Raises:
      ValueError: If no source has that name, or the prompts are missing or not asked for.
    """
    if name not in SOURCES:
        raise ValueError(f"{name!r} is not a text source; known are {', '.join(sorted(SOURCES))}.")
    if (name == "clip") != (prompts is not None):
        raise ValueError(f"The text source is {name!r}; clip, and it alone, reads encoded prompts.")
    module, source = SOURCES[name].split(":")
    given = () if prompts is None else (prompts,)
    return getattr(importlib.import_module(module), source)(width, *given)
