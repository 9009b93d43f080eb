"""An estimate of what read-out amplifiers add to whole columns and rows, which small kernels cannot see."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.models.masks import Mask

ACROSS = 7  # neighbours on either side that a pixel is compared with
BLOCK = 8  # pixels along a stripe that are averaged first
ALONG = 8  # blocks on either side of a pixel's own that it is averaged over
LARGEST = 0.05  # a larger difference to the neighbours is the scene


def stripe_offsets(luma: Float[Array, "B H W"], mask: Mask, stem: int) -> Float[Array, "B h w 2s"]:
    """How much brighter a pixel's column and row are than those beside it, over some 140 pixels of their length.

    The scene averages out along a stripe and the stripe does not, so that one window of this length tells what many
    small kernels in a row would have to pass on.

    Args:
      luma: (B,H,W) in [0,1], sides multiples of the stride.
      mask: (B,H,W,1), 0 on padding; None: all of it is image.
      stem: stride s of the result.

    Returns:
      (B,H/s,W/s,2s) in units of `LARGEST`: the columns of each place, then its rows.
    """
    valid = jnp.ones_like(luma) if mask is None else (mask[..., 0] > 0).astype(luma.dtype)
    columns = _stripes(luma, valid, stem)
    rows = _stripes(luma.transpose(0, 2, 1), valid.transpose(0, 2, 1), stem).transpose(0, 2, 1, 3)
    return jnp.concatenate([columns, rows], -1)


def _stripes(luma: Float[Array, "B H W"], valid: Float[Array, "B H W"], stem: int) -> Float[Array, "B h w s"]:
    batch, height, width = luma.shape
    luma *= valid
    local = window_sum(luma, ACROSS, 2) / jnp.maximum(window_sum(valid, ACROSS, 2), 1)
    away, count = _blocks(jnp.clip((luma - local) / LARGEST, -1, 1) * valid), _blocks(valid)
    offsets = window_sum(away, ALONG, 1) / jnp.maximum(window_sum(count, ALONG, 1), 1)
    offsets = offsets.repeat(BLOCK // stem, 1)[:, : height // stem]
    return offsets.reshape(batch, height // stem, width // stem, stem)


def _blocks(x: Float[Array, "B H W"]) -> Float[Array, "B n W"]:
    batch, height, width = x.shape
    return jnp.pad(x, ((0, 0), (0, -height % BLOCK), (0, 0))).reshape(batch, -1, BLOCK, width).sum(2)


def window_sum(x: Float[Array, "*B"], reach: int, axis: int) -> Float[Array, "*B"]:
    """Sums over a window of 2 reach + 1 along one axis, with nothing beyond the border."""
    return sum(shifts(x, reach, axis, 0))


def shifts(x: Float[Array, "*B"], reach: int, axis: int, beyond: float) -> list[Float[Array, "*B"]]:
    """All that a window of 2 reach + 1 along one axis holds, by its place in it; `beyond` is outside of the border."""
    border = [(0, 0)] * x.ndim
    border[axis] = (reach, reach)
    padded, size = jnp.pad(x, border, constant_values=beyond), x.shape[axis]
    shifted = ([slice(None)] * axis + [slice(i, i + size)] for i in range(2 * reach + 1))
    return [padded[tuple(where)] for where in shifted]
