"""Metrics of the fused image alone: standard deviation, spatial frequency, average gradient.

They have no reference: stretching and sharpening raise them. Show them, do not rank by them. On 8-bit values.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.masks import Mask, clear_padding, mean_over


def standard_deviation(fused: Float[Array, "B H W"], mask: Mask = None) -> Float[Array, "B"]:
    """SD: sqrt(mean((F - mean F)^2)), higher is better; from 0 (flat image) to half of the range (127.5).

    Args:
      fused: (B, H, W) in 0..255.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,) in grey levels. Agrees with `Evaluator.SD` of CDDFuse's `Evaluator.py`.
    """
    (fused,) = clear_padding(mask, fused - fused[:, :1, :1])  # a flat image becomes exactly 0
    centred = fused - mean_over(fused, mask)[:, None, None]
    return jnp.sqrt(mean_over(centred**2, mask))


def spatial_frequency(fused: Float[Array, "B H W"], mask: Mask = None) -> Float[Array, "B"]:
    """SF: sqrt(mean (F[y,x+1] - F[y,x])^2 + mean (F[y+1,x] - F[y,x])^2), higher is better; 0 for a flat image.

    Args:
      fused: (B, H, W) in 0..255.
      mask: (B, H, W), True inside the image; differences between two pixels inside count.

    Returns:
      (B,) in grey levels. Agrees with `Evaluator.SF` of CDDFuse's `Evaluator.py`.
    """
    (fused,) = clear_padding(mask, fused)
    across, down = fused[:, :, 1:] - fused[:, :, :-1], fused[:, 1:] - fused[:, :-1]
    both_across = None if mask is None else mask[:, :, 1:] & mask[:, :, :-1]
    both_down = None if mask is None else mask[:, 1:] & mask[:, :-1]
    return jnp.sqrt(mean_over(across**2, both_across) + mean_over(down**2, both_down))


def average_gradient(fused: Float[Array, "B H W"], mask: Mask = None) -> Float[Array, "B"]:
    """AG: mean sqrt((gx^2 + gy^2) / 2), higher is better; 0 for a flat image.

    Gradients as `numpy.gradient`: central differences over two pixels, one-sided at the border.

    Args:
      fused: (B, H, W) in 0..255.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,) in grey levels a pixel. Agrees with `Evaluator.AG` of CDDFuse's `Evaluator.py`.
    """
    (fused,) = clear_padding(mask, fused)
    squares = _gradient(fused, mask, 1) ** 2 + _gradient(fused, mask, 2) ** 2
    return mean_over(jnp.sqrt(squares / 2), mask)


def _gradient(x, mask, axis):
    inside = jnp.ones((1, *x.shape[1:]), bool) if mask is None else mask
    after, has_after = _shift(x, axis, 1), _shift(inside, axis, 1)
    before, has_before = _shift(x, axis, -1), _shift(inside, axis, -1)
    difference = jnp.where(has_after, after, x) - jnp.where(has_before, before, x)
    return difference / jnp.maximum(has_after.astype(x.dtype) + has_before, 1)


def _shift(x, axis, by):
    """Returns y[i] = x[i + by] along the axis, zero (False) outside."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (max(-by, 0), max(by, 0))
    padded = jnp.pad(x, widths)
    keep = [slice(None)] * x.ndim
    keep[axis] = slice(by, None) if by > 0 else slice(None, by)
    return padded[tuple(keep)]
