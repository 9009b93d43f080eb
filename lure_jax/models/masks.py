"""Which pixels belong to an image that was padded, or to one tile's share of it."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Mask = Float[Array, "B H W 1"] | None  # a pixel's share in what is summed over the image; 0 on padding


def masked(x: Float[Array, "B H W C"], mask: Mask) -> Float[Array, "B H W C"]:
    """Zeroes what padding added, so that a convolution sees the border of the unpadded image."""
    return x if mask is None else x * (mask > 0).astype(x.dtype)


def shared(x: Float[Array, "B H W C"], mask: Mask) -> Float[Array, "B H W C"]:
    """Each pixel times its share: one factor of a product that is summed over the image."""
    return x if mask is None else x * mask.astype(x.dtype)


def masked_mean(x: Float[Array, "B H W C"], mask: Mask) -> Float[Array, "B C"]:
    """Mean over the pixels that belong to the image, weighted by their shares, in float32."""
    x = x.astype(jnp.float32)
    if mask is None:
        return x.mean((1, 2))
    return (x * mask).sum((1, 2)) / jnp.maximum(mask.sum((1, 2)), 1.0)


def coarser(mask: Mask, factor: int) -> Mask:
    """The mask at a `factor` times smaller resolution; its sides are multiples of that."""
    return None if mask is None else mask[:, ::factor, ::factor]


def finer(mask: Mask, factor: int) -> Mask:
    """The mask at a `factor` times larger resolution."""
    return None if mask is None else mask.repeat(factor, 1).repeat(factor, 2)
