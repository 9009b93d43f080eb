"""How thick haze lies before each place, by the dark channel: small kernels can't see it, nor sums over the image."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.models.blocks import Dtype, LayerNorm, Pointwise, SeparableConv3x3, identity_init, image_wide, unshuffle
from lure_jax.models.masks import Mask, shared
from lure_jax.models.stripes import shifts

WINDOW = 15  # pixels, or a stride less: somewhere within it something is dark or of one colour, if the air is clear
HAZIEST = 32  # power of the dark channel by which pixels count for the airlight
FAINT = 1e-12  # its mean over the image at which the airlight is half taken for white: all of it at 0.42
LEAST_SHARE = 1e-6  # of a pixel, where no image is
LEAST_TRANSMISSION = 0.05


class Veil(NamedTuple):
    """The veil in [0,1], its optical depth in [0,3] and the airlight's three channels; and what lifting it adds.

    `gain` is 1 / t - 1, and `lifted` the image less the airlight, times that.
    """

    seen: Float[Array, "B h w 5"]
    lifted: Float[Array, "B h w 3*s*s"]
    gain: Float[Array, "B h w 1"]


def estimate_veil(module: nn.Module, image: Float[Array, "B H W 3"], mask: Mask, stem: int) -> Veil:
    """The dark channel prior, with soft sums instead of sorting; refining it is left to the network.

    Source: He, Sun, Tang, "Single image haze removal using dark channel prior", CVPR 2009, TPAMI 2011: the veil is the
    least colour, relative to the airlight A, within `WINDOW` pixels; the transmission t is 1 - veil, at least 0.05,
    and its negative logarithm the optical depth; A is the mean colour of where the dark channel is brightest. Lifting
    the veil adds (image - A) (1 / t - 1).

    Args:
      module: in whose collection "statistics" the airlight lies (B,4), and beside it how much tells of it.
      image: (B,H,W,3) in [0,1], sides multiples of the stride.
      mask: (B,H,W,1), 0 on padding; None: all of it is image.
      stem: stride s of the result.
    """
    image = image.astype(jnp.float32)
    inside = None if mask is None else mask[..., 0] > 0
    weight = _least_around(image, inside, stem) ** HAZIEST
    places = image[:, ::stem, ::stem]
    counted = jnp.concatenate([weight * places, weight, jnp.ones_like(weight)], -1)
    sums = shared(counted, None if mask is None else mask[:, ::stem, ::stem]).sum((1, 2))
    faint = FAINT * jnp.maximum(sums[:, 4:], LEAST_SHARE)
    mass = sums[:, 3:4] + faint
    airlight = image_wide(module, "airlight", jnp.concatenate([(sums[:, :3] + faint) / mass, mass], -1))
    airlight = airlight[:, None, None, :3]
    thick = jnp.clip(_least_around(image / airlight, inside, stem), 0, 1)
    transmission = jnp.maximum(1 - thick, LEAST_TRANSMISSION)
    gain = 1 / transmission - 1
    seen = [thick, -jnp.log(transmission), jnp.broadcast_to(airlight, (*thick.shape[:3], 3))]
    return Veil(jnp.concatenate(seen, -1), unshuffle(image - airlight, stem) * gain, gain)


class Lifting(nn.Module):
    """What of the veil to lift where, from the features and what is seen of it: out(share lifted - airlight gain).

    Of each pixel, `share` corrects the veil, and `airlight` is by how much its light is brighter than estimated.

    Attributes:
      latent: channels Z of the result.
      width: hidden channels.
    """

    latent: int
    width: int = 32
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], veil: Veil, mask: Mask = None) -> Float[Array, "B h w Z"]:
        pixels = veil.lifted.shape[-1]
        y = jnp.concatenate([LayerNorm(self.dtype, name="norm")(x), veil.seen.astype(self.dtype)], -1)
        y = nn.gelu(Pointwise(self.width, dtype=self.dtype, name="first")(y))
        y = nn.gelu(SeparableConv3x3(self.width, dtype=self.dtype, name="second")(y, mask))
        y = Pointwise(2 * pixels, init=nn.initializers.zeros, dtype=self.dtype, name="share")(y)
        share, airlight = jnp.split(y, 2, -1)
        out = Pointwise(self.latent, init=identity_init(pixels), use_bias=False, dtype=self.dtype, name="out")
        return out(share * veil.lifted - airlight * veil.gain)


def _least_around(image: Float[Array, "B H W 3"], inside: Array | None, stem: int) -> Float[Array, "B h w 1"]:
    """The least channel within a window about each place of the stride `stem`; 1 where there is no image."""
    least = image.min(-1) if inside is None else jnp.where(inside, image.min(-1), 1.0)
    least = functools.reduce(jnp.minimum, within_places(least, stem))
    for axis in (1, 2):
        least = functools.reduce(jnp.minimum, shifts(least, WINDOW // stem // 2, axis, 1))
    return least[..., None]


def within_places(x: Float[Array, "B H W *C"], stride: int) -> list[Float[Array, "B h w *C"]]:
    """The pixels of each place of a stride, one array each: XLA's CPU backend is slower to reduce reshaped blocks."""
    return [x[:, i::stride, j::stride] for i in range(stride) for j in range(stride)]
