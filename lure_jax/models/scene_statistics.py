"""Statistics of natural images that tell noise, stripes, haze, blur and exposure from what a scene looks like."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.color import rgb_to_ycbcr
from lure_jax.models.blocks import Mask

SCALES = (1, 2, 4)  # pixels: camera noise is coarser than one
PATCH = 8  # pixels
FLOOR = 1 / 1024  # a quarter of an 8-bit step; smaller differences are rounding
DARK, BRIGHT = 0.02, 0.98


def scene_statistics(image: Float[Array, "B H W 3"], mask: Mask) -> Float[Array, "B N"]:
    """What the pixels of an image say of its trouble, with nothing learned.

    Of luma and chroma at three scales, along columns and rows: the logarithm of the mean difference between neighbours,
    and the mean of its logarithm, which flat areas decide: noise raises it and edges do not (a sample of the pixels at
    the finer scales). Of the row and column means of luma the same, which stripes raise. The shares of dark and of bright values; the mean value, and the mean
    over patches of the least and the greatest one, and of the least over all colours (the dark channel, He et al.
    2009).

    Args:
      image: (B,H,W,3) in [0,1], sides multiples of `PATCH`.
      mask: (B,H,W,1), 1 on the image and 0 on padding; None: all of it is image.

    Returns:
      (B,N) float32.
    """
    image = image.astype(jnp.float32)
    inside = jnp.ones((1, *image.shape[1:3], 1)) if mask is None else mask.astype(jnp.float32)
    colours, found = rgb_to_ycbcr(image), []
    for scale in SCALES:
        values, valid = pooled(colours, scale, jnp.mean), pooled(inside, scale, jnp.min)
        for axis in (1, 2):
            found += roughness(values, valid, axis, every=SCALES[-1] // scale)
            if scale == 1:
                profile, some = mean_over(values[..., :1], valid, 3 - axis)
                found += roughness(profile, some, axis)
    valid = pooled(inside, PATCH, jnp.min)
    least, greatest = pooled(image, PATCH, jnp.min), pooled(image, PATCH, jnp.max)
    found += [mean(jnp.asarray(extreme, jnp.float32), inside) for extreme in (image < DARK, image > BRIGHT)]
    found += [mean(image, inside), mean(least, valid), mean(greatest, valid), mean(least.min(-1, keepdims=True), valid)]
    return jnp.concatenate(found, -1)


def pooled(x: Float[Array, "B H W C"], size: int, reduce: Callable) -> Float[Array, "B h w C"]:
    """`reduce` over blocks of size x size pixels."""
    batch, height, width, channels = x.shape
    return reduce(x.reshape(batch, height // size, size, width // size, size, channels), axis=(2, 4))


def mean(x: Float[Array, "B H W C"], valid: Float[Array, "B H W 1"]) -> Float[Array, "B C"]:
    """Over the pixels that are valid; 0 where none is."""
    return (x * valid).sum((1, 2)) / jnp.maximum(valid.sum((1, 2)), 1)


def mean_over(x: Float[Array, "B H W C"], valid: Float[Array, "B H W 1"], axis: int):
    """Means over one axis, which stays with length 1, and where there is one."""
    count = valid.sum(axis, keepdims=True)
    return (x * valid).sum(axis, keepdims=True) / jnp.maximum(count, 1), (count > 0).astype(jnp.float32)


def roughness(x: Float[Array, "B H W C"], valid: Float[Array, "B H W 1"], axis: int, every: int = 1):
    """log of the mean, and mean of the log, of the differences between neighbours along an axis; each (B,C).

    `every`: of so many pixels along both axes, one is compared with its neighbour.
    """
    across = (slice(None),) + (slice(None, None, every),) * 2
    neighbour = tuple(slice(1, None, every) if i == axis else part for i, part in enumerate(across))
    after, ok = x[neighbour], valid[neighbour]
    before, fine = (a[across][:, : after.shape[1], : after.shape[2]] for a in (x, valid))
    step, both = jnp.abs(after - before), ok * fine
    return [jnp.log(mean(step, both) + FLOOR), mean(jnp.log(step + FLOOR), both)]
