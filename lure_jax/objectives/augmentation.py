"""Random windows and photometric changes on the device, and the same window for predictions of another stride."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

SMALLEST = 0.6  # side of a window, as a share of the image's
GAMMA = 2.5  # exponents between its inverse and itself
CONTRAST = 1.5  # factors between its inverse and itself, around the image's mean
BRIGHTNESS = 0.15  # largest offset
NOISE = 0.03  # largest standard deviation


class Window(NamedTuple):
    """A part of each image, drawn at the image's full size, perhaps mirrored.

    Attributes:
      share: side of the window as a share of the image's, in (0, 1].
      top: where it begins, as a share of the height, in [0, 1 - share].
      left: the same of the width.
      flip: whether it is mirrored from left to right.
    """

    share: Float[Array, "B"]
    top: Float[Array, "B"]
    left: Float[Array, "B"]
    flip: Bool[Array, "B"]


def draw_window(rng: jax.Array, batch: int) -> Window:
    """A window for each image of a batch."""
    keys = jax.random.split(rng, 4)
    share = jax.random.uniform(keys[0], (batch,), minval=SMALLEST, maxval=1.0)
    top, left = (jax.random.uniform(key, (batch,)) * (1 - share) for key in keys[1:3])
    return Window(share, top, left, jax.random.bernoulli(keys[3], shape=(batch,)))


def warp(
    x: Float[Array, "B H W C"], window: Window
) -> tuple[Float[Array, "B H W C"], Float[Array, "B H W"]]:
    """Magnifies each image's window to the full size, bilinearly.

    Windows are given in shares of the sides, so an image and its prediction at another stride go together.

    Args:
      x: images, or predictions.
      window: from `draw_window`.

    Returns:
      The magnified windows, and a mask: 1 where all pixels that were interpolated exist, else 0.
    """
    height, width = x.shape[1:3]
    rows = _interpolation(height, window.share, window.top, jnp.zeros_like(window.flip))
    columns = _interpolation(width, window.share, window.left, window.flip)
    warped = jnp.einsum("bpw,bowc->bopc", columns, jnp.einsum("boh,bhwc->bowc", rows, x))
    inside = [(weights.sum(-1) > 0.999).astype(x.dtype) for weights in (rows, columns)]
    return warped, inside[0][:, :, None] * inside[1][:, None, :]


def _interpolation(size: int, share, start, flip) -> Float[Array, "B size size"]:
    """Weights of the pixels of a side (last axis) for each pixel of the magnified window."""
    pixels = jnp.arange(size)
    place = (pixels + 0.5) * share[:, None] + start[:, None] * size - 0.5
    place = jnp.where(flip[:, None], place[:, ::-1], place)
    return jnp.maximum(0.0, 1 - jnp.abs(place[..., None] - pixels))


def photometric(rng: jax.Array, image: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """A random gamma, contrast and brightness and a little Gaussian noise for each image; stays in [0,1].

    Changes as large as these (ours) keep a head from taking brightness for meaning.
    """
    keys = jax.random.split(rng, 5)
    one = (image.shape[0], 1, 1, 1)
    gamma, contrast = (
        most ** jax.random.uniform(key, one, minval=-1.0)
        for most, key in zip((GAMMA, CONTRAST), keys[:2], strict=True)
    )
    brightness = BRIGHTNESS * jax.random.uniform(keys[2], one, minval=-1.0)
    sd = jax.random.uniform(keys[3], one, maxval=NOISE)
    bright = jnp.maximum(image, 1e-3) ** gamma  # a power of zero has no finite gradient
    mean = bright.mean((1, 2), keepdims=True)
    changed = mean + contrast * (bright - mean) + brightness
    return jnp.clip(changed + sd * jax.random.normal(keys[4], image.shape), 0, 1)
