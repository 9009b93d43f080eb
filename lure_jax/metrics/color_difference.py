"""CIEDE2000: how far colours are apart for the eye."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lure_jax.metrics.masks import Mask, clear_padding, mean_over

SRGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ],
    np.float32,
)
WHITE = SRGB_TO_XYZ.sum(1)  # D65


def srgb_to_lab(rgb: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """Converts sRGB in [0, 1] as stored (gamma encoded) to CIE L*a*b*, white point D65; L* in [0, 100]."""
    linear = jnp.where(rgb <= 0.04045, rgb / 12.92, ((jnp.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4)
    xyz = jnp.einsum("bhwc,dc->bhwd", linear, SRGB_TO_XYZ, precision="highest") / WHITE
    edge = 6 / 29
    f = jnp.where(xyz > edge**3, jnp.cbrt(jnp.maximum(xyz, edge**3)), xyz / (3 * edge**2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def ciede2000(lab: Float[Array, "*B 3"], reference: Float[Array, "*B 3"]) -> Float[Array, "*B"]:
    """CIEDE2000 colour difference of L*a*b* colours with k_L = k_C = k_H = 1; symmetric, 0 for equal colours.

    Args:
      lab: (..., 3).
      reference: (..., 3).

    Returns:
      (...,); about 1 is just noticeable.

    Source: Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary test
    data, and mathematical observations", Color Research and Application 2005; agrees with its test data.
    """
    lightness, a, b = (jnp.stack([lab[..., k], reference[..., k]]) for k in range(3))
    mean_chroma = jnp.hypot(a, b).mean(0)
    a = a * (1.5 - 0.5 * _saturation(mean_chroma))
    chroma = jnp.hypot(a, b)
    hue = jnp.where(chroma == 0, 0, jnp.mod(jnp.arctan2(b, jnp.where(chroma == 0, 1, a)), 2 * jnp.pi))

    grey = (chroma == 0).any(0)
    turn = hue[1] - hue[0]
    turn = jnp.where(turn > jnp.pi, turn - 2 * jnp.pi, jnp.where(turn < -jnp.pi, turn + 2 * jnp.pi, turn))
    turn = jnp.where(grey, 0, turn)
    total = hue.sum(0)
    around = jnp.where(total < 2 * jnp.pi, total + 2 * jnp.pi, total - 2 * jnp.pi)
    mean_hue = jnp.where(jnp.abs(hue[1] - hue[0]) > jnp.pi, around, total) / 2
    mean_hue = jnp.where(grey, total, mean_hue)

    mean_chroma = chroma.mean(0)
    delta_hue = 2 * jnp.sqrt(chroma[0] * chroma[1]) * jnp.sin(turn / 2)
    weight = (
        1
        - 0.17 * jnp.cos(mean_hue - np.deg2rad(30))
        + 0.24 * jnp.cos(2 * mean_hue)
        + 0.32 * jnp.cos(3 * mean_hue + np.deg2rad(6))
        - 0.20 * jnp.cos(4 * mean_hue - np.deg2rad(63))
    )
    light = lightness_difference(*lightness)
    saturated = (chroma[1] - chroma[0]) / (1 + 0.045 * mean_chroma)
    hued = delta_hue / (1 + 0.015 * mean_chroma * weight)
    rotation = jnp.exp(-(((jnp.rad2deg(mean_hue) - 275) / 25) ** 2))
    cross = -2 * _saturation(mean_chroma) * jnp.sin(np.deg2rad(60) * rotation) * saturated * hued
    return jnp.sqrt(jnp.maximum(light**2 + saturated**2 + hued**2 + cross, 0))


def lightness_difference(lightness: Float[Array, "*B"], reference: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """CIEDE2000's part of lightness, dL' / S_L, with the sign of `reference` - `lightness`; differentiable.

    Args:
      lightness: (...,) L* in [0, 100].
      reference: (...,).

    Returns:
      (...,); of greys its magnitude is CIEDE2000.
    """
    offset = ((lightness + reference) / 2 - 50) ** 2
    return (reference - lightness) / (1 + 0.015 * offset / jnp.sqrt(20 + offset))


def delta_e(rgb: Float[Array, "B H W 3"], reference: Float[Array, "B H W 3"], mask: Mask = None) -> Float[Array, "B"]:
    """Mean CIEDE2000 of two sRGB images, lower is better; 0 for equal images, 100 for black against white.

    Args:
      rgb: (B, H, W, 3) in [0, 1] as stored, such as a fused image.
      reference: same shape, such as the visible image.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,). Agrees with scikit-image's `deltaE_ciede2000` of `rgb2lab`.
    """
    rgb, reference = clear_padding(mask, rgb, reference)
    return mean_over(ciede2000(srgb_to_lab(rgb), srgb_to_lab(reference)), mask)


def _saturation(chroma):
    # sqrt(C^7 / (C^7 + 25^7)) in float32 without overflow.
    ratio = (chroma / 25) ** 7
    return jnp.sqrt(ratio / (ratio + 1))
