"""Tone curves of the pixels: what was too dark must be multiplied tenfold, and normalised features do not multiply."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.color import luma
from lure_jax.models.blocks import Dtype, LayerNorm, Pointwise, SeparableConv3x3, identity_init, image_wide, unshuffle
from lure_jax.models.masks import Mask, shared
from lure_jax.models.stripes import window_sum
from lure_jax.models.veil import within_places

KNEES = (0.01, 0.04, 0.16)  # stored values at which a curve bends
SAMPLE = 2  # of so many pixels along both axes, one counts for how bright the image is
BRIGHTEST = 12  # power whose mean over the image is the white point's
DARKEST = 0.004  # an 8-bit step: the least white point


class Tone(NamedTuple):
    """The pixels, the white point, and how bright the image is: mean and deviation of its luma's curves, log white."""

    pixels: Float[Array, "B h w 3*s*s"]
    white: Float[Array, "B 1"]
    brightness: Float[Array, "B 7"]


def log_curves(x: Float[Array, "*B C"]) -> Float[Array, "*B K*C"]:
    """log(1 + x / c) / log(1 + 1 / c) for the knees c: 0 to 1 in [0,1], at 0 by 22, 7.7 and 3.2 as steep as x."""
    return jnp.concatenate([jnp.log1p(x / c) / jnp.log1p(1 / c) for c in KNEES], -1)


def measure_tone(module: nn.Module, image: Float[Array, "B H W 3"], mask: Mask, stem: int) -> Tone:
    """What `Toning` reads of an image. The white point is the mean with the power 12 of the brightest of 2 x 2 pixels.

    Args:
      module: in whose collection "statistics" the sums lie.
      image: (B,H,W,3) in [0,1], sides multiples of the stride.
      mask: (B,H,W,1), 0 on padding; None: all of it is image.
      stem: stride s of the result.
    """
    image = jnp.clip(image.astype(jnp.float32), 0, 1)
    curves = log_curves(luma(image[:, ::SAMPLE, ::SAMPLE])[..., None])
    # Of all pixels: a lamp that the sample misses would be many times as bright as the white point
    brightest = functools.reduce(jnp.maximum, within_places(image.max(-1, keepdims=True), SAMPLE)) ** BRIGHTEST
    counted = jnp.concatenate([curves, curves**2, brightest, jnp.ones_like(brightest)], -1)
    sums = image_wide(
        module, "tone", shared(counted, None if mask is None else mask[:, ::SAMPLE, ::SAMPLE]).sum((1, 2))
    )
    means = sums[:, :-1] / jnp.maximum(sums[:, -1:], 1e-6)
    mean, power = means[:, : len(KNEES)], means[:, len(KNEES) : -1]
    deviation = jnp.sqrt(jnp.maximum(power - mean**2, 0) + 1e-6)
    white = jnp.maximum(means[:, -1:], DARKEST**BRIGHTEST) ** (1 / BRIGHTEST)
    return Tone(unshuffle(image, stem), white, jnp.concatenate([mean, deviation, jnp.log(white)], -1))


class Toning(nn.Module):
    """What curves of each pixel and of its surroundings are to add to the latent: out(sum of shares of curves).

    The curves are `log_curves`, and the pixel over the white point.

    Attributes:
      latent: channels Z of the result.
      width: hidden channels.
    """

    latent: int
    width: int = 48
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], tone: Tone, mask: Mask = None) -> Float[Array, "B h w Z"]:
        pixels, batch = tone.pixels.shape[-1], x.shape[:3]
        white = tone.white[:, None, None]
        kinds = [
            jnp.concatenate([log_curves(p), p / white], -1) for p in (tone.pixels, surroundings(tone.pixels, mask))
        ]
        brightness = jnp.broadcast_to(tone.brightness[:, None, None], (*batch, tone.brightness.shape[-1]))
        y = jnp.concatenate([LayerNorm(self.dtype, name="norm")(x), *kinds, brightness], -1).astype(self.dtype)
        y = nn.gelu(Pointwise(self.width, dtype=self.dtype, name="first")(y))
        for name in ("second", "third"):
            y += nn.gelu(SeparableConv3x3(self.width, dtype=self.dtype, name=name)(y, mask))
        ends = pixels, pixels + kinds[0].shape[-1]
        y = Pointwise(ends[1] + kinds[1].shape[-1], init=nn.initializers.zeros, dtype=self.dtype, name="share")(y)
        more, *shares = jnp.split(y, ends, -1)
        for share, curves in zip(shares, kinds, strict=True):
            parts = (share * curves.astype(self.dtype)).reshape(*batch, len(KNEES) + 1, -1).sum(3)
            more += jnp.tile(parts, pixels // parts.shape[-1])
        return Pointwise(self.latent, init=identity_init(pixels), use_bias=False, dtype=self.dtype, name="out")(more)


def surroundings(pixels: Float[Array, "B h w 3*s*s"], mask: Mask) -> Float[Array, "B h w 3"]:
    """Mean colour of a place and the eight next to it; of those that belong to the image."""
    colours = pixels.reshape(*pixels.shape[:3], -1, 3).mean(3)
    inside = jnp.ones_like(colours[..., :1]) if mask is None else (mask > 0).astype(jnp.float32)
    sums = jnp.concatenate([colours * inside, inside], -1)
    for axis in (1, 2):
        sums = window_sum(sums, 1, axis)
    return sums[..., :3] / jnp.maximum(sums[..., 3:], 1)
