"""Segmentation: SSVIF's two heads for training, and a small network that judges fused images.

H reads a fusion model's features, G reads its fused image: SSVIF (arXiv 2509.22450); reconstruction. The head is
SegFormer's (Xie et al., 2021, arXiv 2105.15203): a linear layer a level, all resized to one stride, concatenated, mixed
and classified.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.models.blocks import Conv3x3, Dtype, LayerNorm, Pointwise, ResidualBlock, unshuffle
from lure_jax.models.lure import pad_to_multiple

STRIDE = 4  # pixels of the image a logit
PREFIXES = ("feature_head", "pixel_head")  # of the heads' parameters; a finished model has none of them


class HeadSizes(NamedTuple):
    """A preset: width of the heads, and widths and blocks of G's own encoder at strides 4, 8, 16, ..."""

    embed: int
    widths: tuple[int, ...]
    blocks: int
    lite: bool = False

    @property
    def multiple(self) -> int:
        """Image sides are padded to multiples of this many pixels."""
        return STRIDE * 2 ** (len(self.widths) - 1)


PRESETS = {
    "tiny": HeadSizes(64, (24, 48, 80, 96), 1, True),
    "base": HeadSizes(128, (32, 64, 160, 256), 2),
}


def logit_size(image: Float[Array, "B H W C"]) -> tuple[int, int]:
    """Rows and columns of the logits of an image, ceil(H / 4) and ceil(W / 4)."""
    return -(-image.shape[1] // STRIDE), -(-image.shape[2] // STRIDE)


class BatchNorm(nn.Module):
    """Normalises each channel over the batch and its pixels, then scales and shifts; statistics in float32.

    Always by the batch's own statistics, on a mesh the global one's: a head is never used on a single image.
    """

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        scale = self.param("scale", nn.with_logical_partitioning(nn.initializers.ones, ("norm",)), x.shape[-1:])
        bias = self.param("bias", nn.with_logical_partitioning(nn.initializers.zeros, ("norm",)), x.shape[-1:])
        centred = x.astype(jnp.float32) - x.mean((0, 1, 2), dtype=jnp.float32)
        x = centred * jax.lax.rsqrt(jnp.square(centred).mean((0, 1, 2)) + 1e-5)
        return (x * scale + bias).astype(self.dtype)


class AllMlpHead(nn.Module):
    """SegFormer's head: a pyramid of feature maps to logits at stride 4 of the image.

    Attributes:
      clusters: logits a pixel, K.
      embed: width of the head.
      stride: of the finest map.
      batch_norm: whether it normalises over the batch, or each pixel by itself.
    """

    clusters: int
    embed: int
    stride: int
    dtype: Dtype = jnp.float32
    batch_norm: bool = True

    @nn.compact
    def __call__(self, features: tuple[Float[Array, "B h w c"], ...]) -> Float[Array, "B H/4 W/4 K"]:
        batch, *size, _ = features[0].shape
        size = tuple(side * self.stride // STRIDE for side in size)
        levels = []
        for i, feature in enumerate(features):
            level = Pointwise(self.embed, dtype=self.dtype, name=f"level_{i}")(feature)
            levels.append(jax.image.resize(level, (batch, *size, self.embed), "linear"))
        x = Pointwise(self.embed, dtype=self.dtype, name="mix")(jnp.concatenate(levels, -1))
        norm = BatchNorm if self.batch_norm else LayerNorm
        x = nn.gelu(norm(self.dtype, name="norm")(x))
        return Pointwise(self.clusters, dtype=self.dtype, name="classify")(x).astype(jnp.float32)


class PixelHead(nn.Module):
    """G: a small encoder of its own, then SegFormer's head; reads the fused RGB image.

    Attributes:
      sizes: the preset's numbers.
      clusters: logits a pixel, K.
      dtype: of the computation; parameters and logits stay float32.
      batch_norm: as in `AllMlpHead`.
    """

    sizes: HeadSizes
    clusters: int
    dtype: Dtype = jnp.float32
    batch_norm: bool = True

    @nn.compact
    def __call__(self, image: Float[Array, "B H W 3"]) -> Float[Array, "B h w K"]:
        sizes = self.sizes
        x = pad_to_multiple(2 * image - 1, sizes.multiple)
        x = nn.gelu(Conv3x3(sizes.widths[0], dtype=self.dtype, name="stem")(unshuffle(x, 2)))
        features = []
        for level, width in enumerate(sizes.widths):
            x = Pointwise(width, dtype=self.dtype, name=f"shrink_{level}")(unshuffle(x, 2))
            for i in range(sizes.blocks):
                x = ResidualBlock(sizes.lite, self.dtype, name=f"block_{level}_{i}")(x)
            features.append(x)
        head = AllMlpHead(self.clusters, sizes.embed, STRIDE, self.dtype, self.batch_norm, name="head")
        return head(tuple(features))


class Heads(nn.Module):
    """Both heads of a fusion model; they share no weights and exist in training alone.

    Attributes:
      widths: channels of the model's feature pyramid, finest map first.
      stride: of its finest map.
      sizes: the preset's numbers.
      clusters: K.
      dtype: of the computation; parameters and logits stay float32.
    """

    widths: tuple[int, ...]
    stride: int
    sizes: HeadSizes
    clusters: int = 27
    dtype: Dtype = jnp.float32

    def setup(self):
        self.feature_head = AllMlpHead(self.clusters, self.sizes.embed, self.stride, self.dtype)
        self.pixel_head = PixelHead(self.sizes, self.clusters, self.dtype)

    def __call__(self, features: tuple[Float[Array, "B h w c"], ...], image: Float[Array, "B H W 3"]):
        """Logits a of H and b of G, each (B, ceil(H/4), ceil(W/4), K)."""
        height, width = logit_size(image)
        return tuple(logits[:, :height, :width] for logits in (self.feature_head(features), self.pixel_head(image)))

    def initialise(self):
        """Touches every parameter: call it with `init`."""
        side = self.stride * 2 ** len(self.widths)
        sides = [side // self.stride // 2**level for level in range(len(self.widths))]
        features = [jnp.zeros((1, n, n, width)) for n, width in zip(sides, self.widths, strict=True)]
        return self(tuple(features), jnp.zeros((1, side, side, 3)))


class Segmenter(nn.Module):
    """A small segmentation network, trained from scratch on fused images to judge them: G without batch norm.

    Attributes:
      sizes: the preset's numbers.
      classes: K.
      dtype: of the computation; parameters and logits stay float32.
    """

    sizes: HeadSizes
    classes: int
    dtype: Dtype = jnp.float32

    text_identity = ""  # it reads none
    prompts = None

    def setup(self):
        self.network = PixelHead(self.sizes, self.classes, self.dtype, batch_norm=False)

    def __call__(self, image: Float[Array, "B H W 3"]) -> Float[Array, "B H/4 W/4 K"]:
        """Logits at stride 4 of an image in [0,1]."""
        height, width = logit_size(image)
        return self.network(image)[:, :height, :width]

    def initialise(self, image, *_):
        """Touches every parameter: call it with `init`."""
        return self(image)
