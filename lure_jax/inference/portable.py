"""Fusion as one pure function of arrays of any size, and that function as StableHLO and as ONNX."""

import logging
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lure_jax.inference.prompt import SLOTS, Prompt, answer_auto, keeps_colour
from lure_jax.inference.weights import Released
from lure_jax.metrics.color import with_chroma
from lure_jax.models.blocks import Depthwise3x3
from lure_jax.models.lure import Lure
from lure_jax.models.masks import masked
from lure_jax.text.conditions import MODALITIES
from lure_jax.text.source import Text

PLATFORMS = ("cpu", "cuda", "tpu")


def fusion(released: Released, prompt: Prompt | None = None) -> Callable[..., Float[Array, "B H W 3"]]:
    """The network from images to the fused image, without `Fuser`'s conversions of types.

    The border is repeated inside up to the network's multiple, and cropped, so every size from 1x1 goes; nothing in it
    depends on the sizes' values, which lets it be traced with symbolic ones.

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
        if not isinstance(asked, Text):
            asked = answer_auto(asked, described.logits, jnp.asarray(released.thresholds), modality)
        text = model.read(asked) if isinstance(asked, Text) else model.tokens(asked)
        return *model.encode_described(image, described, text), asked

    def run(model, visible, infrared, visible_asked, infrared_asked):
        latent_v, repaired, visible_asked = encode(model, visible, visible_asked, "visible")
        latent_i, *_ = encode(model, infrared, infrared_asked, "infrared")
        z, _ = model.fuse(latent_v, latent_i)
        return jnp.clip(with_chroma(model.decode(z), repaired, keeps_colour(visible_asked, params)), 0, 1)

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


def arguments(released: Released, *, baked: bool) -> dict[str, tuple[str, type]]:
    """What `fusion` takes: name -> symbolic shape ("b, h, w, 3") and type.

    Args:
      released: the model.
      baked: whether a prompt is baked in.
    """
    taken = {"visible": ("b, h, w, 3", np.float32), "infrared": ("b, h, w, 1", np.float32)}
    if reads_text(released) and not baked:
        taken |= {f"{modality}_ids": (f"b, {SLOTS}", np.int32) for modality in MODALITIES}
    return taken


def stablehlo(released: Released, prompt: Prompt | None = None) -> bytes:
    """`fusion` for `jax.export.deserialize`, for any number and size of images and all `PLATFORMS` at once."""
    fuse = jax.jit(fusion(released, prompt))
    return jax.export.export(fuse, platforms=PLATFORMS)(*_abstract(released, prompt)).serialize()


def onnx(released: Released, prompt: Prompt | None = None) -> bytes:
    """`fusion` as an ONNX model, for any number and size of images; needs jax2onnx.

    Its depthwise convolutions are grouped ones, the form that ONNX Runtime is fast in: with the nine shifted products
    of ours it has 2.7 times as many nodes.
    """
    from jax2onnx import to_onnx

    logging.getLogger("onnx_ir.serde").setLevel(logging.ERROR)  # it warns of every size that is known at run time only
    fuse = fusion(released, prompt)

    def with_grouped_convolutions(*arrays):
        with nn.intercept_methods(_grouped):
            return fuse(*arrays)

    names = list(arguments(released, baked=prompt is not None))
    inputs = _abstract(released, prompt)
    model = to_onnx(with_grouped_convolutions, inputs, model_name="lure_jax", input_names=names, output_names=["fused"])
    return model.SerializeToString()


def _abstract(released: Released, prompt: Prompt | None) -> list[jax.ShapeDtypeStruct]:
    scope = jax.export.SymbolicScope()
    taken = arguments(released, baked=prompt is not None).values()
    return [jax.ShapeDtypeStruct(jax.export.symbolic_shape(shape, scope=scope), dtype) for shape, dtype in taken]


def _pad(image: Float[Array, "B H W C"], multiple: int) -> Float[Array, "B h w C"]:
    """Repeats the last row and column; a gather, since jnp.pad can't be traced with a symbolic amount."""
    for axis in (1, 2):
        side = image.shape[axis]
        # lax.iota and not jnp.arange, of which jax2onnx forgets the length
        index = jax.lax.iota(jnp.int32, (side + multiple - 1) // multiple * multiple)
        image = jnp.take(image, jnp.minimum(index, side - 1), axis=axis)
    return image


def _repeat(asked: Int[np.ndarray, "7"] | Text, batch: int) -> Int[Array, "B 7"] | Text:
    return jax.tree.map(lambda array: jnp.broadcast_to(array, (batch, *array.shape)), asked)


def _grouped(call, args, kwargs, context):
    """Flax's interceptor: a depthwise convolution as one operation."""
    module = context.module
    if not isinstance(module, Depthwise3x3) or context.method_name != "__call__":
        return call(*args, **kwargs)
    x = masked(*args, **kwargs).astype(module.dtype)
    kernel = module.variables["params"]["kernel"].astype(module.dtype)[:, :, None]
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=dimensions, feature_group_count=x.shape[-1]
    )
