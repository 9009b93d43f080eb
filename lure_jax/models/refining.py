"""Convolutional networks for what formulas leave of noise, and for rain and snow: the small preset's."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.models.blocks import BRANCH_SCALE, Conv3x3, Dtype, Pointwise, scaled_init, shuffle, unshuffle
from lure_jax.models.masks import Mask, coarser, masked

NAMED = ("noise", "rain", "snow")  # conditions of which it is told whether the text names them
STRIDE = 2  # pixels to a place of its finest level, along each side
BLOCKS = 2, 3  # at each level on the way down and on the way up; at the bottom
OTHERWISE = 10.0  # by which what was repaired before is multiplied, as one of its inputs
UNIT = 0.1  # of what it adds


class Refining(nn.Module):
    """What to add to a repaired image, from that and the image before all repairs; the share begins at nought.

    A U-Net of residual blocks without norms, as FFDNet (Zhang, Zuo, Zhang 2018) at half of the resolution.

    Attributes:
      widths: channels at the strides 2, 4 and so on.
    """

    widths: tuple[int, ...]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "B H W 3"],
        given: Float[Array, "B H W 3"],
        named: Float[Array, "B 3"],
        mask: Mask = None,
    ) -> Float[Array, "B H W 3"]:
        """Sides are multiples of 2^(levels), in pixels; `named` says which of `NAMED` the text names."""
        masks = [coarser(mask, STRIDE * 2**level) for level in range(len(self.widths))]
        finer = range(len(self.widths) - 1)

        def dense(features, name):
            return Pointwise(features, dtype=self.dtype, name=name)

        def blocks(x, level, name, number):
            for i in range(number):
                x = _Block(dtype=self.dtype, name=f"{name}_{i}")(x, masks[level])
            return x

        seen = jnp.concatenate([unshuffle(given - 0.5, STRIDE), unshuffle(OTHERWISE * (given - image), STRIDE)], -1)
        x = Conv3x3(self.widths[0], dtype=self.dtype, name="first")(seen.astype(self.dtype), masks[0])
        x += dense(self.widths[0], "named")(named.astype(self.dtype))[:, None, None]
        skips = []
        for level in finer:
            x = blocks(x, level, f"down_{level}", BLOCKS[0])
            skips.append(x)
            x = dense(self.widths[level + 1], f"shrink_{level}")(unshuffle(masked(x, masks[level]), 2))
        x = blocks(x, len(finer), "bottom", BLOCKS[1])
        for level in reversed(finer):
            x = skips[level] + shuffle(dense(4 * self.widths[level], f"grow_{level}")(x), 2)
            x = blocks(x, level, f"up_{level}", BLOCKS[0])
        x = Conv3x3(seen.shape[-1] // 2, dtype=self.dtype, name="last")(x, masks[0]).astype(jnp.float32)
        share = self.param("share", nn.with_logical_partitioning(nn.initializers.zeros, (None,)), (1,))
        return share * UNIT * shuffle(x, STRIDE)


class _Block(nn.Module):
    """x + Conv(relu(Conv(x)))."""

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], mask: Mask = None) -> Float[Array, "B H W C"]:
        y = nn.relu(Conv3x3(x.shape[-1], dtype=self.dtype, name="first")(x, mask))
        return x + Conv3x3(x.shape[-1], init=scaled_init(BRANCH_SCALE), dtype=self.dtype, name="second")(y, mask)
