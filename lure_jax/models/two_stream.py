"""SSVIF's own fusion network: two convolutional streams, fused level by level, and a U-decoder to the luma.

SSVIF (arXiv 2509.22450); reconstruction.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.color import rgb_to_ycbcr, ycbcr_to_rgb
from lure_jax.models.blocks import (
    BRANCH_SCALE,
    Conv3x3,
    Dtype,
    Pointwise,
    ResidualBlock,
    identity_init,
    scaled_init,
    shuffle,
    unshuffle,
)
from lure_jax.models.lure import FusionOutput, pad_to_multiple
from lure_jax.models.masks import Mask, coarser, masked


class TwoStreamSizes(NamedTuple):
    """A preset: channels and residual blocks at strides 1, 2, 4, ..."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    lite: bool = False

    @property
    def multiple(self) -> int:
        """Image sides are padded to multiples of this many pixels."""
        return 2 ** (len(self.widths) - 1)

    @property
    def feature_widths(self) -> tuple[int, ...]:
        """Channels of the feature pyramid Phi_2, Phi_3, ..., finest map first."""
        return self.widths[1:]

    @property
    def feature_stride(self) -> int:
        """Pixels of the image a pixel of the finest feature map; each further map has twice as many."""
        return 2


PRESETS = {
    "tiny": TwoStreamSizes((16, 32, 64, 96), (1, 1, 2, 2), True),
    "base": TwoStreamSizes((32, 64, 128, 256), (2, 2, 2, 2)),
}


def blend_init(*shares: float) -> Callable:
    """Starts as the weighted sum of equally wide inputs that are concatenated, with a little noise around it."""

    def init(key, shape, dtype=jnp.float32):
        blocks = [share * jnp.eye(shape[-1], dtype=dtype) for share in shares]
        return scaled_init(BRANCH_SCALE)(key, shape, dtype) + jnp.concatenate(blocks)

    return init


class Stream(nn.Module):
    """One modality's way down: a stem, then residual blocks at strides 1, 2, 4, ..."""

    sizes: TwoStreamSizes
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "B H W 1"], mask: Mask = None) -> list[Float[Array, "B h w c"]]:
        x = Conv3x3(self.sizes.widths[0], init=identity_init(1), dtype=self.dtype, name="stem")(image, mask)
        levels = []
        for level, (width, blocks) in enumerate(zip(self.sizes.widths, self.sizes.blocks, strict=True)):
            here = coarser(mask, 2**level)
            if level:
                x = unshuffle(masked(x, coarser(mask, 2 ** (level - 1))), 2)
                x = Pointwise(width, dtype=self.dtype, name=f"shrink_{level}")(x)
            for i in range(blocks):
                x = ResidualBlock(self.sizes.lite, self.dtype, name=f"block_{level}_{i}")(x, here)
            levels.append(x)
        return levels


class UDecoder(nn.Module):
    """The fused pyramid Phi to the fused luma in (0,1), by (tanh + 1) / 2."""

    sizes: TwoStreamSizes
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, pyramid: list[Float[Array, "B h w c"]], mask: Mask = None) -> Float[Array, "B H W"]:
        x = pyramid[-1]
        for level in reversed(range(len(pyramid) - 1)):
            width = self.sizes.widths[level]
            x = shuffle(Pointwise(4 * width, dtype=self.dtype, name=f"grow_{level}")(x), 2)
            merge = Pointwise(width, init=blend_init(1.0, 0.0), dtype=self.dtype, name=f"merge_{level}")
            x = merge(jnp.concatenate([pyramid[level], x], -1))
            x = ResidualBlock(self.sizes.lite, self.dtype, name=f"block_{level}")(x, coarser(mask, 2**level))
        y = Conv3x3(1, init=identity_init(1), dtype=self.dtype, name="luma")(x, mask).astype(jnp.float32)
        return (jnp.tanh(2 * y[..., 0] - 1) + 1) / 2  # of slope one at mid grey


class TwoStream(nn.Module):
    """The fusion network after SSVIF (arXiv 2509.22450; reconstruction): fuses luma, keeps the visible colour.

    At initialisation the fused luma is about the mean of both images. It reads no text.

    Attributes:
      sizes: the preset's numbers.
      dtype: of the computation; parameters and images stay float32.
    """

    sizes: TwoStreamSizes
    dtype: Dtype = jnp.float32

    text_identity = ""  # it reads none
    prompts = None

    def setup(self):
        self.visible = Stream(self.sizes, self.dtype)
        self.infrared = Stream(self.sizes, self.dtype)
        self.mix = [Pointwise(width, init=blend_init(0.5, 0.5), dtype=self.dtype) for width in self.sizes.widths]
        self.decoder = UDecoder(self.sizes, self.dtype)

    def __call__(
        self,
        visible: Float[Array, "B H W 3"],
        infrared: Float[Array, "B H W 1"],
        visible_text: None = None,
        infrared_text: None = None,
        pixel_mask: Float[Array, "B H W"] | None = None,
    ) -> FusionOutput:
        """Fuses two registered images of any size.

        Args:
          visible: (B,H,W,3) in [0,1].
          infrared: (B,H,W,1) in [0,1].
          visible_text: not read; every fusion model takes it.
          infrared_text: not read.
          pixel_mask: (B,H,W), 1 on the image and 0 on padding; the image's sides must then be multiples of
            `sizes.multiple`.

        Returns:
          FusionOutput with the image (B,H,W,3), clipped to [0,1], and Phi_2, Phi_3, ... at strides 2, 4, ...
        """
        del visible_text, infrared_text
        height, width = visible.shape[1:3]
        mask = None if pixel_mask is None else pixel_mask[..., None].astype(jnp.float32)
        ycbcr = rgb_to_ycbcr(visible.astype(jnp.float32))
        sides = [pad_to_multiple(image, self.sizes.multiple) for image in (ycbcr[..., :1], infrared)]
        streams = self.visible(sides[0], mask), self.infrared(sides[1], mask)
        pyramid = [mix(jnp.concatenate(both, -1)) for mix, *both in zip(self.mix, *streams, strict=True)]
        y = self.decoder(pyramid, mask)[:, :height, :width, None]
        image = ycbcr_to_rgb(jnp.concatenate([y, ycbcr[..., 1:]], -1))
        return FusionOutput(jnp.clip(image, 0, 1), tuple(phi.astype(jnp.float32) for phi in pyramid[1:]))

    def tokens(self, prompt_ids) -> None:
        """Nothing: prompts are not read."""
        del prompt_ids

    def initialise(self, visible, infrared, visible_ids, infrared_ids) -> FusionOutput:
        """Touches every parameter: call it with `init`."""
        return self(visible, infrared, self.tokens(visible_ids), self.tokens(infrared_ids))
