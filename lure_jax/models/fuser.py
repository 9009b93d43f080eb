"""LURE's fusion rule in the latent space."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.models.blocks import (
    BRANCH_SCALE,
    Conv3x3,
    Dtype,
    GramAttention,
    Pointwise,
    SeparableConv3x3,
    TransformerBlock,
)
from lure_jax.models.masks import Mask, coarser
from lure_jax.models.sizes import POOL, Sizes

BLOCKS = 2


def enlarge(x: Float[Array, "B h w C"], factor: int, mask: Mask = None) -> Float[Array, "B h*f w*f C"]:
    """Linear interpolation between pixel centres that mixes in nothing from beyond the border, or where the mask is 0.

    As `jax.image.resize(x, ..., "linear")`, but that knows no mask, and multiplies by matrices of the image's size.
    """
    inside = jnp.ones_like(x[:1, ..., :1]) if mask is None else (mask > 0).astype(x.dtype)
    values, shares = _stretched(x * inside, factor), _stretched(inside, factor)
    return values / jnp.maximum(shares, 0.01)  # a pixel inside has at least a quarter


def _stretched(x: Float[Array, "B h w C"], factor: int) -> Float[Array, "B h*f w*f C"]:
    offsets = [(i + 0.5) / factor - 0.5 for i in range(factor)]
    for axis in (1, 2):
        beyond = [(0, 0)] * 4
        beyond[axis] = (1, 1)
        padded, size = jnp.pad(x, beyond), x.shape[axis]
        sides = [jax.lax.slice_in_dim(padded, start, start + size, axis=axis) for start in (0, 2)]
        parts = [(1 - abs(offset)) * x + abs(offset) * sides[offset > 0] for offset in offsets]
        shape = list(x.shape)
        shape[axis] = size * factor
        x = jnp.stack(parts, axis + 1).reshape(shape)
    return x


class Surroundings(nn.Module):
    """What lies around each pixel, in a few channels: transformer blocks at a quarter of the resolution; ours.

    Its neighbours alone do not tell whether a pixel belongs to a dark sky or to a wall. The last layer starts at zero.

    Attributes:
      features: channels of the result.
      width: channels at the quarter.
      expansion: of the blocks, which have no attention.
    """

    features: int
    width: int
    expansion: float
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], mask: Mask = None) -> Float[Array, "B h w F"]:
        """Sides are multiples of `POOL`, the mask's too."""
        batch, height, width, channels = x.shape
        mask = coarser(mask, POOL)
        x = x.reshape(batch, height // POOL, POOL, width // POOL, POOL, channels).mean((2, 4))
        x = Pointwise(self.width, dtype=self.dtype, name="in")(x)
        for i in range(BLOCKS):
            x = TransformerBlock(0, self.expansion, True, BRANCH_SCALE, self.dtype, name=f"block_{i}")(x, mask)
        x = Pointwise(self.features, init=nn.initializers.zeros, dtype=self.dtype, name="out")(x)
        return enlarge(x, POOL, mask)


class Fuser(nn.Module):
    """F_u(z_v, z_i): channel cross-attention both ways, a soft choice w per pixel and channel, and a remainder R.

    z_f = w z_v + (1-w) z_i + R; R's last convolution starts at zero (LURE; reconstruction). Ours: w and R also know a
    pixel's `Surroundings`, where the sizes have any.
    """

    sizes: Sizes
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z_v: Float[Array, "B h w Z"], z_i: Float[Array, "B h w Z"], mask: Mask = None):
        """Args: both latents and the mask (B,h,w,1). Returns z_f (B,h,w,Z) and w (B,h,w,Z) in (0,1)."""
        sizes, channels = self.sizes, self.sizes.latent
        cross = dict(heads=sizes.heads[0], scale=BRANCH_SCALE, dtype=self.dtype)
        c_v = z_v + GramAttention(name="visible_reads", **cross)(z_v, z_i, mask)
        c_i = z_i + GramAttention(name="infrared_reads", **cross)(z_i, z_v, mask)
        both = jnp.concatenate([c_v, c_i], -1).astype(self.dtype)
        conv = SeparableConv3x3 if sizes.lite else Conv3x3
        choice = conv(channels, dtype=self.dtype, name="choice")(both, mask)
        rest = Pointwise(channels, dtype=self.dtype, name="rest_in")(both)
        if sizes.surroundings:
            around = Surroundings(2 * channels, sizes.surroundings, sizes.expansion, self.dtype, name="around")
            choice_around, rest_around = jnp.split(around(both, mask), 2, -1)
            choice, rest = choice + choice_around, rest + rest_around
        w = nn.sigmoid(choice.astype(jnp.float32))
        for i in range(sizes.fuser_blocks):
            block = TransformerBlock(sizes.heads_at(0), sizes.expansion, sizes.lite, dtype=self.dtype, name=f"rest_{i}")
            rest = block(rest, mask)
        rest = conv(channels, init=nn.initializers.zeros, dtype=self.dtype, name="rest_out")(rest, mask)
        return w * z_v + (1 - w) * z_i + rest.astype(jnp.float32), w
