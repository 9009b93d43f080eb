"""Haze, taken from the image: by the dark channel, and by a network that sees far enough to correct it."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.models.blocks import Conv3x3, Dtype, Pointwise, ResidualBlock, shuffle, unshuffle
from lure_jax.models.masks import Mask, coarser, masked, masked_mean
from lure_jax.models.stripes import shifts

STRIDE = 4  # pixels of the image to one of what is told of the haze, along each side
AROUND = (0, 1, 3)  # places on either side within which the least channel is taken
USED = 1  # of these, from which the depth begins: 12 pixels
NEAREST = 2  # places on either side for the airlight: 20 pixels
HAZIEST = 32  # power of the dark channel by which places count for the airlight
FAINT = 1e-12  # its mean over the image at which the airlight is half taken for white: all of it at 0.42
LEAST_SHARE = 1e-6  # of a place, where no image is
KEPT = 0.05  # of the veil, for a look of distance, as He et al. keep it
LEAST_TRANSMISSION = 0.05
DEPTHS = -1.0, 4.0  # least and most of what is told
UNIT = 0.3  # corrections of colours are about 1 in this unit


class Lifting(nn.Module):
    """What lifting the veil adds to an image: share (g x + (1 - g) A + e - x), g = e^d the inverse transmission.

    The optical depth d and the airlight A begin as the dark channel prior has them; a U-Net at a quarter of the
    resolution corrects both, and tells e, which is what stands in for what the haze leaves nothing of. The share
    begins at nought.

    Source: Koschmieder's law, x = J t + A (1 - t); He, Sun, Tang, "Single image haze removal using dark channel prior",
    CVPR 2009, TPAMI 2011: the veil is the least colour, relative to A, in a window, t = 1 - 0.95 veil, A the mean
    colour of where the dark channel is brightest (here: weighted by its 32nd power, instead of sorting).

    Attributes:
      widths: channels at the strides 4, 8, 16 and so on.
    """

    widths: tuple[int, ...] = (32, 48, 64, 80)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "B H W 3"], mask: Mask = None) -> Float[Array, "B H W 3"]:
        height, width = image.shape[1:3]
        multiple = STRIDE * 2 ** (len(self.widths) - 1)
        valid = jnp.ones((*image.shape[:3], 1)) if mask is None else (mask > 0).astype(jnp.float32)
        both = extended(jnp.concatenate([image, valid], -1), multiple)
        pixels, valid = both[..., :3], both[..., 3:]
        inside = _pooled(jnp.minimum, valid)
        # Parts before this one may leave [0,1], and in an untrained network far: powers of that are not finite
        airlight, veils, seen = dark_channel(jnp.clip(pixels, 0, 1), valid, inside)
        depth = -jnp.log(jnp.maximum(1 - (1 - KEPT) * veils[USED], LEAST_TRANSMISSION))
        told = self._told(jnp.concatenate([seen, *veils, depth, airlight * inside], -1), inside)
        gain = jnp.exp(jnp.clip(depth + told[..., :1], *DEPTHS))
        added = (airlight + UNIT * told[..., 1:4]) * (1 - gain) + UNIT * told[..., 4:]
        both = upsampled(jnp.concatenate([gain, added], -1), inside)
        lifted = jnp.clip(pixels * both[..., :1] + both[..., 1:], 0, 1)
        share = self.param("share", nn.with_logical_partitioning(nn.initializers.zeros, (None,)), (1,))
        return (share * (lifted - pixels) * valid)[:, :height, :width]

    def _told(self, seen: Float[Array, "B h w 11"], inside: Float[Array, "B h w 1"]) -> Float[Array, "B h w 7"]:
        dtype, levels = self.dtype, range(len(self.widths) - 1)
        masks = [coarser(inside, 2**level) for level in range(len(self.widths))]

        def dense(features, name):
            return Pointwise(features, dtype=dtype, name=name)

        def block(name):
            return ResidualBlock(lite=True, dtype=dtype, name=name)

        y, skips = Conv3x3(self.widths[0], dtype=dtype, name="first")(seen.astype(dtype), inside), []
        for level in levels:
            y = block(f"down_{level}")(y, masks[level])
            skips.append(y)
            y = dense(self.widths[level + 1], f"shrink_{level}")(unshuffle(masked(y, masks[level]), 2))
        overall = nn.gelu(dense(self.widths[-1], "overall")(masked_mean(y, masks[-1]).astype(dtype)))
        y += dense(self.widths[-1], "overall_out")(overall)[:, None, None]
        y = block("bottom")(y, masks[-1])
        for level in reversed(levels):
            y = shuffle(dense(4 * self.widths[level], f"grow_{level}")(y), 2)
            y = dense(self.widths[level], f"merge_{level}")(jnp.concatenate([y, skips[level]], -1))
            y = block(f"up_{level}")(y, masks[level])
        return Pointwise(7, init=nn.initializers.zeros, dtype=dtype, name="told")(y).astype(jnp.float32)


def dark_channel(
    image: Float[Array, "B H W 3"], valid: Float[Array, "B H W 1"], inside: Float[Array, "B h w 1"]
) -> tuple[Float[Array, "B 1 1 3"], list[Float[Array, "B h w 1"]], Float[Array, "B h w 4"]]:
    """The airlight; the veil in [0,1] within each of `AROUND`; the mean colour of each place, and its greatest channel.

    All three are nought where no image is (1 in `valid` and `inside`, at full and at a quarter of the resolution).
    """
    least = _pooled(jnp.minimum, jnp.where(valid > 0, _of_channels(jnp.minimum, image), 1.0))
    most = _pooled(jnp.maximum, _of_channels(jnp.maximum, image)) * inside
    mean = _pooled(jnp.add, image) / STRIDE**2 * inside
    weight = _least_around(least, NEAREST) ** HAZIEST * inside
    faint = FAINT * jnp.maximum(inside.sum((1, 2)), LEAST_SHARE)
    airlight = (((weight * mean).sum((1, 2)) + faint) / (weight.sum((1, 2)) + faint))[:, None, None]
    relative = jnp.where(inside > 0, least / _of_channels(jnp.maximum, airlight), 1.0)
    veils = [jnp.clip(_least_around(relative, reach), 0, 1) * inside for reach in AROUND]
    return airlight, veils, jnp.concatenate([mean, most], -1)


def extended(x: Float[Array, "B H W C"], multiple: int) -> Float[Array, "B h w C"]:
    """With noughts up to sides that are multiples; no jnp.pad, which can't be traced with a symbolic amount."""
    for axis in (1, 2):
        side = x.shape[axis]
        whole = (side + multiple - 1) // multiple * multiple
        if whole != side:
            index = jax.lax.iota(jnp.int32, whole)
            x = jnp.take(x, index, axis, mode="fill", fill_value=0)
    return x


def _pooled(reduce: Callable[[Array, Array], Array], x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    return functools.reduce(reduce, within_places(x, STRIDE))


def _of_channels(reduce: Callable[[Array, Array], Array], x: Float[Array, "B H W C"]) -> Float[Array, "B H W 1"]:
    # The gradient of x.max() is 0/0 where the compiler rounds a quotient otherwise when it computes it once more
    return functools.reduce(reduce, jnp.split(x, x.shape[-1], -1))


def _least_around(least: Float[Array, "B h w 1"], reach: int) -> Float[Array, "B h w 1"]:
    for axis in (1, 2):
        least = functools.reduce(jnp.minimum, shifts(least, reach, axis, 1))
    return least


def within_places(x: Float[Array, "B H W *C"], stride: int) -> list[Float[Array, "B h w *C"]]:
    """The pixels of each place of a stride, one array each: XLA's CPU backend is slower to reduce reshaped blocks."""
    return [x[:, i::stride, j::stride] for i in range(stride) for j in range(stride)]


def upsampled(x: Float[Array, "B h w C"], inside: Float[Array, "B h w 1"]) -> Float[Array, "B 4h 4w C"]:
    """Four times as large, linear between the places' middles and constant beyond the outermost inside (1)."""
    for axis in (1, 2):
        before, here, after = shifts(x, 1, axis, 0)
        within_before, _, within_after = shifts(inside, 1, axis, 0)
        before, after = jnp.where(within_before > 0, before, here), jnp.where(within_after > 0, after, here)
        parts = [here + (before - here) * share for share in (0.375, 0.125)]
        parts += [here + (after - here) * share for share in (0.125, 0.375)]
        shape = [*x.shape[:axis], STRIDE * x.shape[axis], *x.shape[axis + 1 :]]
        x, inside = jnp.stack(parts, axis + 1).reshape(shape), inside.repeat(STRIDE, axis)
    return x
