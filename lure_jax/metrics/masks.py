"""Means over the pixels of padded images: what lies outside the mask never counts.

Every metric takes `mask` (B, H, W), True inside the image, False in the padding below and to the right of it.
The metric of a padded image with its mask equals that of the image alone, to float32 rounding.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Mask = Bool[Array, "B H W"] | None


def clear_padding(mask: Mask, *images: Float[Array, "B H W *C"]) -> tuple[Float[Array, "B H W *C"], ...]:
    """Returns the images with zeros outside the mask, so that nothing there (a NaN either) can leak."""
    if mask is None:
        return images
    return tuple(jnp.where(_spread(mask, x), x, 0) for x in images)


def whole_windows(mask: Mask, size: int) -> Mask:
    """Tells which `size` x `size` windows lie inside the mask: (B, H - size + 1, W - size + 1)."""
    if mask is None:
        return None
    height, width = mask.shape[1] - size + 1, mask.shape[2] - size + 1
    rows = jnp.stack([mask[:, k : k + height] for k in range(size)]).all(0)
    return jnp.stack([rows[:, :, k : k + width] for k in range(size)]).all(0)


def sum_over(values: Float[Array, "B H W *C"], mask: Mask) -> Float[Array, "B"]:
    """Returns each image's sum over the pixels of `mask` (all without one) and the channels.

    Rows are summed first: one long float32 sum over a whole image would lose digits.
    """
    if mask is not None:
        values = jnp.where(_spread(mask, values), values, 0)
    return values.sum(tuple(range(2, values.ndim))).sum(1)


def mean_over(values: Float[Array, "B H W *C"], mask: Mask) -> Float[Array, "B"]:
    """Returns each image's mean over the pixels of `mask` (all without one) and channels; 0 if there are none."""
    channels = math.prod(values.shape[3:])
    count = math.prod(values.shape[1:3]) if mask is None else jnp.maximum(mask.sum((1, 2)), 1)
    return sum_over(values, mask) / (channels * count)


def ratio(numerator: Float[Array, "B"], denominator: Float[Array, "B"]) -> Float[Array, "B"]:
    """Returns numerator / denominator, and 0 where the denominator is 0."""
    return jnp.where(denominator == 0, 0, numerator / jnp.where(denominator == 0, 1, denominator))


def root(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns sqrt(x) for x >= 0, with the gradient 0 instead of infinity at 0."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def _spread(mask, x):
    return mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
