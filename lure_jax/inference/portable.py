"""Fusion as one pure function of arrays of any size, for programs that are not ours: what the exports compile."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lure_jax.inference.prompt import SLOTS, Prompt, answer_auto
from lure_jax.inference.weights import Released
from lure_jax.models.lure import Lure
from lure_jax.text.source import Text

Ids = Int[Array, "B 7"]


def fusion(released: Released, prompt: Prompt | None = None) -> Callable[..., Float[Array, "B H W 3"]]:
    """The network from images to the fused image, without `Fuser`'s conversions of types.

    The border is repeated inside up to the network's multiple, and cropped, so every size from 1x1 goes; the program
    holds no condition on sizes, which lets it be traced with symbolic ones.

    Args:
      released: the model; its parameters become constants of the function.
      prompt: what is asked for, baked in; None makes the prompt ids of both images two further arguments (`SLOTS`
        each, -1 = none, all AUTO = let the network judge). A model that reads no text has none.

    Returns:
      fuse(visible (B,H,W,3), infrared (B,H,W,1)[, visible_ids, infrared_ids]), float32 in [0,1], the ids int32.
    """
    model, params = released.model, jax.tree.map(jnp.asarray, released.params)

    def encode(model, image, asked, modality):
        described = model.describe(image)
        if isinstance(asked, Text):
            text = model.read(asked)
        else:
            text = model.tokens(answer_auto(asked, described.logits, jnp.asarray(released.thresholds), modality))
        return model.lift(described, text)

    def run(model, visible, infrared, visible_asked, infrared_asked):
        latents = encode(model, visible, visible_asked, "visible"), encode(model, infrared, infrared_asked, "infrared")
        z, _ = model.fuse(*latents)
        return jnp.clip(model.decode(z), 0, 1)

    def fuse(visible, infrared, visible_ids=None, infrared_ids=None):
        height, width = visible.shape[1:3]
        padded = [_pad(image, model.sizes.multiple) for image in (visible, infrared)]
        if not reads_text(released):
            fused = model.apply({"params": params}, *padded).image
        else:
            asked = (visible_ids, infrared_ids)
            if prompt is not None:
                asked = [_repeat(one, visible.shape[0]) for one in prompt[:2]]
            fused = model.apply({"params": params}, *padded, *asked, method=run)
        return fused[:, :height, :width]

    return fuse


def reads_text(released: Released) -> bool:
    """Whether the model has prompts at all."""
    return isinstance(released.model, Lure)


def _pad(image: Float[Array, "B H W C"], multiple: int) -> Float[Array, "B h w C"]:
    """Repeats the last row and column; a gather, since padding by a symbolic amount can't be traced."""
    for axis in (1, 2):
        side = image.shape[axis]
        index = jnp.minimum(jnp.arange((side + multiple - 1) // multiple * multiple), side - 1)
        image = jnp.take(image, index, axis=axis)
    return image


def _repeat(asked: Int[np.ndarray, "7"] | Text, batch: int) -> Ids | Text:
    return jax.tree.map(lambda array: jnp.broadcast_to(array, (batch, *array.shape)), asked)
