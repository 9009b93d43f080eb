"""Models by name."""

import jax
import jax.numpy as jnp

from lure_jax.errors import UserError
from lure_jax.models import segmentation, two_stream
from lure_jax.models.blocks import REMAT
from lure_jax.models.detection import Detector
from lure_jax.models.lure import Lure
from lure_jax.models.segmentation import Heads, Segmenter
from lure_jax.models.sizes import PRESETS as LURE_PRESETS
from lure_jax.models.two_stream import TwoStream
from lure_jax.text.asked import REFINING
from lure_jax.text.clip_prompts import PromptTokens, encode_prompts

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
JUDGES = {"segmenter": Segmenter, "detector": Detector}  # networks that judge fused images
PRESETS = {
    "lure": LURE_PRESETS,
    "two_stream": two_stream.PRESETS,
    **dict.fromkeys(JUDGES, segmentation.PRESETS),
}
KEYS = {"lure": ("name", "preset", "text", "dtype", "remat"), "two_stream": ("name", "preset", "dtype")}
HEADS = segmentation.PREFIXES
OPTIONAL = (*HEADS, *REFINING)  # prefixes of parameters that a run may add to those it starts from

FusionModel = Lure | TwoStream
Judge = Segmenter | Detector


def build(config, prompts: PromptTokens | None = None) -> FusionModel | Judge:
    """The unbound module a config's `model` describes.

    Args:
      config: with `name` ("lure", "two_stream", "segmenter" or "detector"), `preset`, `dtype` ("float32" or
        "bfloat16"), of a LURE model `text` and `remat` ("none", "blocks" or "dots"; False in older model files), of a
        network that judges `classes`; with the text source "clip" also `clip`, the location of its files.
      prompts: the encoded prompts of the text source "clip", if they are at hand: CLIP's files are not needed then.

    Returns:
      The Flax module.

    Raises:
      UserError: if a value is unknown, or CLIP's files are not there; the message names the key and what would help.
    """
    _check("config.model", config, "name", PRESETS)
    _check("config.model", config, "preset", PRESETS[config.name])
    _check("config.model", config, "dtype", DTYPES)
    sizes, dtype = PRESETS[config.name][config.preset], DTYPES[config.dtype]
    if config.name in JUDGES:
        return JUDGES[config.name](sizes, config.classes, dtype)
    if config.name == "two_stream":
        return TwoStream(sizes, dtype)
    if config.remat:
        _check("config.model", config, "remat", REMAT)
    if config.text == "clip" and prompts is None:
        prompts = encode_prompts(config.clip)
    return Lure(sizes, config.text, dtype, config.remat or "none", prompts)


def build_heads(config, model: FusionModel) -> Heads | None:
    """The segmentation heads that a recipe trains beside its model.

    Args:
      config: the run's; its `heads` have `preset` and `clusters`.
      model: whose features and image they read.

    Returns:
      The Flax module, None for a recipe without `heads`.

    Raises:
      UserError: if a value is unknown.
    """
    if "heads" not in config:
        return None
    _check("config.heads", config.heads, "preset", segmentation.PRESETS)
    if config.heads.clusters < 2:
        raise UserError(f"config.heads.clusters={config.heads.clusters}, but two is the least.")
    sizes = model.sizes
    return Heads(
        sizes.feature_widths, sizes.feature_stride, segmentation.PRESETS[config.heads.preset], config.heads.clusters,
        model.dtype,
    )  # fmt: skip


def initialise(model: FusionModel | Judge, rng: jax.Array, heads: Heads | None = None):
    """Parameters with their logical axis names (boxed), of a model that has seen one small pair, and of its heads."""
    side = model.sizes.multiple
    visible, infrared, ids = jnp.zeros((1, side, side, 3)), jnp.zeros((1, side, side, 1)), jnp.zeros((1, 2), int)
    params = model.init(rng, visible, infrared, ids, ids, method="initialise")["params"]
    if heads is None:
        return params
    return params | heads.init(jax.random.fold_in(rng, 1), method="initialise")["params"]


def without_heads(params):
    """The tree without the heads' parameters, what a finished model keeps."""
    return {prefix: tree for prefix, tree in params.items() if prefix not in HEADS}


def _check(path: str, config, key: str, known) -> None:
    if config[key] not in known:
        raise UserError(f"{path}.{key}={config[key]!r} is not known; choose one of {', '.join(known)}.")
