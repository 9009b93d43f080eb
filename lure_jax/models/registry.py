"""Models by name."""

import jax
import jax.numpy as jnp

from lure_jax.errors import UserError
from lure_jax.models.lure import PRESETS, Lure
from lure_jax.text.clip_prompts import PromptTokens, encode_prompts

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build(config, prompts: PromptTokens | None = None) -> Lure:
    """The unbound module a config's `model` describes.

    Args:
      config: with `name` ("lure"), `preset`, `text`, `dtype` ("float32" or "bfloat16") and `remat`;
        with the text source "clip" also `clip`, the location of its files.
      prompts: the encoded prompts of the text source "clip", if they are at hand: CLIP's files are not needed then.

    Returns:
      The Flax module.

    Raises:
      UserError: if a value is unknown, or CLIP's files are not there; the message names the key and what would help.
    """
    for key, known in (("name", ("lure",)), ("preset", PRESETS), ("dtype", DTYPES)):
        if config[key] not in known:
            raise UserError(f"config.model.{key}={config[key]!r} is not known; choose one of {', '.join(known)}.")
    if config.text == "clip" and prompts is None:
        prompts = encode_prompts(config.clip)
    return Lure(PRESETS[config.preset], config.text, DTYPES[config.dtype], config.remat, prompts)


def initialise(model: Lure, rng: jax.Array):
    """Parameters with their logical axis names (boxed), of a model that has seen one small pair."""
    side = model.sizes.multiple
    visible, infrared, ids = jnp.zeros((1, side, side, 3)), jnp.zeros((1, side, side, 1)), jnp.zeros((1, 2), int)
    return model.init(rng, visible, infrared, ids, ids, method="initialise")["params"]
