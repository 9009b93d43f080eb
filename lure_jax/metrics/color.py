"""Colour spaces: BT.601 luma and chroma."""

import jax.numpy as jnp
from jaxtyping import Array, Float

RED, GREEN, BLUE = 0.299, 0.587, 0.114


def luma(rgb: Float[Array, "*B H W 3"]) -> Float[Array, "*B H W"]:
    """Returns the BT.601 luma Y = 0.299 R + 0.587 G + 0.114 B, in the range of the input.

    Args:
      rgb: (..., 3), values in [0, 1] (or any other range; the map is linear).

    Returns:
      (...,), without the channel axis.
    """
    return RED * rgb[..., 0] + GREEN * rgb[..., 1] + BLUE * rgb[..., 2]


def rgb_to_ycbcr(rgb: Float[Array, "*B H W 3"]) -> Float[Array, "*B H W 3"]:
    """Converts RGB to full-range BT.601 YCbCr (that of JPEG), chroma centred at 0.5.

    Y = 0.299 R + 0.587 G + 0.114 B,  Cb = 0.5 + (B - Y) / 1.772,  Cr = 0.5 + (R - Y) / 1.402.

    Args:
      rgb: (..., 3) in [0, 1], as stored (gamma encoded).

    Returns:
      (..., 3) Y, Cb, Cr, each in [0, 1].
    """
    y = luma(rgb)
    cb = 0.5 + (rgb[..., 2] - y) / (2 * (1 - BLUE))
    cr = 0.5 + (rgb[..., 0] - y) / (2 * (1 - RED))
    return jnp.stack([y, cb, cr], axis=-1)


def with_chroma(
    rgb: Float[Array, "B H W 3"], reference: Float[Array, "B H W 3"], share: Float[Array, "B"]
) -> Float[Array, "B H W 3"]:
    """The luma of one image with the chroma of another.

    Args:
      rgb: (B, H, W, 3) about in [0, 1], whose luma is kept.
      reference: same shape.
      share: (B,) of the reference's chroma in the result, in [0, 1]; the rest is that of `rgb`.

    Returns:
      (B, H, W, 3), not clipped (`ycbcr_to_rgb`).
    """
    ycbcr = rgb_to_ycbcr(rgb)
    chroma = ycbcr[..., 1:] + share[:, None, None, None] * (rgb_to_ycbcr(reference) - ycbcr)[..., 1:]
    return ycbcr_to_rgb(jnp.concatenate([ycbcr[..., :1], chroma], -1))


def ycbcr_to_rgb(ycbcr: Float[Array, "*B H W 3"]) -> Float[Array, "*B H W 3"]:
    """Inverts `rgb_to_ycbcr`.

    Args:
      ycbcr: (..., 3), chroma centred at 0.5.

    Returns:
      (..., 3) RGB; it is not clipped, so a luma the chroma cannot carry leaves [0, 1].
    """
    y, cb, cr = ycbcr[..., 0], ycbcr[..., 1] - 0.5, ycbcr[..., 2] - 0.5
    red = y + 2 * (1 - RED) * cr
    blue = y + 2 * (1 - BLUE) * cb
    green = (y - RED * red - BLUE * blue) / GREEN
    return jnp.stack([red, green, blue], axis=-1)
