"""Multi-scale structural similarity of Wang, Simoncelli and Bovik (2003)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.masks import Mask, clear_padding, mean_over, whole_windows
from lure_jax.metrics.ssim import WINDOW, ssim_maps

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ms_ssim(
    x: Float[Array, "B H W *C"],
    y: Float[Array, "B H W *C"],
    *,
    data_range: float = 1.0,
    mask: Mask = None,
) -> Float[Array, "B"]:
    """Multi-scale SSIM, higher is better, in [0, 1]; 1 for equal images, flat ones too.

    prod_{j<5} cs_j^w_j * SSIM_5^w_5, cs_j the mean contrast-structure term of scale j, each scale the means of 2 x 2
    pixels of the one before (an odd last row or column is dropped), w = (.0448, .2856, .3001, .2363, .1333). A negative
    mean counts 0, so that its power is real.

    Args:
      x: (B, H, W) or (B, H, W, C) in [0, data_range], at least 176 x 176 pixels.
      y: the other image, same shape; the result is symmetric.
      data_range: L, 1 for images in [0, 1], 255 for 8-bit values.
      mask: (B, H, W), True inside the image, which starts at the top left corner.

    Returns:
      (B,).

    Raises:
      ValueError: the image is smaller than 176 x 176.

    Source: Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment", Asilomar 2003.
    """
    x, y = clear_padding(mask, x, y)
    product = 1.0
    for scale, weight in enumerate(WEIGHTS):
        luminance, structure = ssim_maps(x, y, data_range)
        last = scale == len(WEIGHTS) - 1
        value = mean_over(luminance * structure if last else structure, whole_windows(mask, WINDOW))
        product *= jnp.maximum(value, 0) ** weight
        if not last:
            x, y = _halve(x), _halve(y)
            mask = None if mask is None else _quarters(mask).all(0)
    return product


def _quarters(x):
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    return jnp.stack([x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)])


def _halve(x):
    return _quarters(x).mean(0)
