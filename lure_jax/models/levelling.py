"""What read-out amplifiers add to whole columns or rows, and the image without it."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.color import luma
from lure_jax.models.blocks import Pointwise
from lure_jax.models.masks import Mask
from lure_jax.models.stripes import shifts

ACROSS = (3, 7, 15, 31)  # neighbours on either side that a pixel is compared with
SKIPPED = 1  # of these, whose difference is the offset to begin with
LARGEST = 0.1  # difference, to begin with
WIDTHS = 0.1, 0.05, 0.025, 0.012, 0.006, 0.006  # up to which a difference to the usual counts in full, step by step
DAMPING = 0.1  # of a step, where few differences are near
UNIT = 0.02  # offsets are about 1 in this unit
BESIDE = 7  # columns on either side that an offset is told from


def differences(gray: Float[Array, "B H W"], mask: Mask) -> Float[Array, "B W 4"]:
    """By how much a column is brighter than the columns about it, robustly over all of its rows, for each of `ACROSS`.

    Huber's estimate of location, by Newton's method: an edge of the scene runs through some rows, a stripe through all.
    0 where there is no image.
    """
    valid = jnp.ones_like(gray) if mask is None else (mask[..., 0] > 0).astype(gray.dtype)
    local = [_box(gray * valid, reach) / jnp.maximum(_box(valid, reach), 1) for reach in ACROSS]
    away, valid = (gray[:, None] - jnp.stack(local, 1)) * valid[:, None], valid[:, None]
    rows = jnp.maximum(valid.sum(2, keepdims=True), 1)
    middle = jnp.clip(away, -LARGEST, LARGEST).sum(2, keepdims=True) / rows
    for width in WIDTHS:
        left = (away - middle) * valid
        near = ((jnp.abs(left) < width) * valid).sum(2, keepdims=True)
        middle += jnp.clip(left, -width, width).sum(2, keepdims=True) / (near + DAMPING * rows)
    return jnp.where(valid.any(2, keepdims=True), middle, 0)[:, :, 0].swapaxes(1, 2)


def _box(x: Float[Array, "B H W"], reach: int) -> Float[Array, "B H W"]:
    """Sums over a window of 2 reach + 1 along the rows."""
    sums = jnp.pad(x, ((0, 0), (0, 0), (reach + 1, reach))).cumsum(-1)
    return sums[..., 2 * reach + 1 :] - sums[..., : -2 * reach - 1]


class Offsets(nn.Module):
    """A column's offset, from the differences of the columns about it; it begins as its own difference to 14 others."""

    width: int = 16

    @nn.compact
    def __call__(self, seen: Float[Array, "B W 4"], valid: Float[Array, "B W"]) -> Float[Array, "B W"]:
        around = jnp.concatenate(shifts(seen / UNIT, BESIDE, 1, 0), -1)
        y = nn.gelu(Pointwise(self.width, name="first")(around)) * valid[..., None]
        y = nn.gelu(Pointwise(self.width, name="second")(jnp.concatenate(shifts(y, BESIDE, 1, 0), -1)))
        told = Pointwise(1, init=nn.initializers.zeros, name="told")(jnp.concatenate([around, y], -1))
        return (seen[..., SKIPPED] + UNIT * told[..., 0]) * valid


class Levelling(nn.Module):
    """What taking the offsets of columns and rows away adds to an image: -(share columns + share rows).

    How large both are over the image tells the shares; it begins at nought.

    Attributes:
      width: hidden channels of what tells the shares.
    """

    width: int = 8

    @nn.compact
    def __call__(self, image: Float[Array, "B H W 3"], mask: Mask = None) -> Float[Array, "B H W 3"]:
        gray, told, offsets, sizes = luma(image), Offsets(name="offsets"), [], []
        whole = jnp.ones_like(gray) if mask is None else (mask[..., 0] > 0).astype(gray.dtype)
        for pixels, inside in ((gray, whole), (gray.swapaxes(1, 2), whole.swapaxes(1, 2))):
            valid = inside.max(1)
            offsets.append(told(differences(pixels, inside[..., None]), valid))
            sizes.append(jnp.abs(offsets[-1]).sum(-1) / jnp.maximum(valid.sum(-1), 1))
        y = nn.gelu(Pointwise(self.width, name="first")(jnp.log(jnp.stack(sizes, -1) / UNIT + 0.01)))
        share = Pointwise(2, init=nn.initializers.zeros, name="share")(y)[:, None, None]
        columns, rows = offsets
        added = share[..., 0] * columns[:, None] + share[..., 1] * rows[:, :, None]
        return -(added * whole)[..., None] * jnp.ones(3)
