"""Statistics of natural images that tell noise, stripes, haze, blur and exposure from what a scene looks like."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.color import luma, rgb_to_ycbcr
from lure_jax.models.masks import Mask, masked_mean

SCALES = (1, 2, 4)  # pixels: camera noise is coarser than one
PATCH = 8  # pixels
SAMPLE = 4  # of so many pixels along both axes, one is looked at for its value
FLOOR = 1 / 1024  # a quarter of an 8-bit step; smaller differences are rounding
# Finer at the ends, where exposure clips; the last is half an 8-bit step below white
LEVELS = (0.03, 0.08, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.93, 0.97, 0.99, 0.998)


def scene_statistics(image: Float[Array, "B H W 3"], mask: Mask) -> Float[Array, "B N"]:
    """What the pixels of an image say of its trouble, with nothing learned.

    Of luma and chroma at three scales, along columns and rows: the logarithm of the mean difference between neighbours,
    and the mean of its logarithm, which flat areas decide: noise raises it and edges do not (a sample of the pixels at
    the finer scales). Of the row and column means of luma the same, which stripes raise. The cumulative distribution of
    luma and of the least and the greatest colour of a pixel; the mean value, and the mean over patches of the least and
    the greatest one, and of the least over all colours (the dark channel, He et al. 2009). Last, the least and the
    greatest luma at the coarsest scale, which tell a flat scene with one hot spot from a compressed range.

    Args:
      image: (B,H,W,3) in [0,1].
      mask: (B,H,W,1), 1 on the image and 0 on padding; None: all of it is image.

    Returns:
      (B,N) float32; of tiles, `tiles.pool` takes the mean, and of the last two the least and the greatest.
    """
    image, (bottom, right) = image.astype(jnp.float32), (-side % PATCH for side in image.shape[1:3])
    if bottom or right:  # jax2onnx's programs fail where a border is repeated no times
        margin = ((0, 0), (0, bottom), (0, right), (0, 0))
        image = jnp.pad(image, margin, mode="edge")
        mask = None if mask is None else jnp.pad(mask, margin)
    values, blocks, found = image, mask, []
    for scale in SCALES:
        if scale > 1:
            values, blocks = pooled(values, 2, jnp.mean), whole_blocks(blocks, 2)
        for axis in (1, 2):
            found += roughness(*map(rgb_to_ycbcr, neighbours(values, axis, SCALES[-1] // scale)),
                               both(blocks, axis, SCALES[-1] // scale))  # fmt: skip
            if scale == 1:
                profile, some = mean_over(luma(values)[..., None], blocks, 3 - axis)
                found += roughness(*neighbours(profile, axis), both(some, axis))
    sample, inside = image[:, ::SAMPLE, ::SAMPLE], sampled(mask, SAMPLE)
    lightness = jnp.stack([luma(sample), sample.min(-1), sample.max(-1)], -1)
    found += [masked_mean(lightness < level, inside) for level in LEVELS]
    patches, valid = image[:, ::2, ::2], whole_blocks(sampled(mask, 2), PATCH // 2)
    least, greatest = pooled(patches, PATCH // 2, jnp.min), pooled(patches, PATCH // 2, jnp.max)
    found += [masked_mean(sample, inside), masked_mean(least, valid), masked_mean(greatest, valid)]
    found += [masked_mean(least.min(-1, keepdims=True), valid), *extremes(luma(values)[..., None], blocks)]
    return jnp.concatenate(found, -1)


def pooled(x: Float[Array, "B H W C"], size: int, reduce: Callable) -> Float[Array, "B h w C"]:
    """`reduce` over blocks of size x size pixels."""
    batch, height, width, channels = x.shape
    return reduce(x.reshape(batch, height // size, size, width // size, size, channels), axis=(2, 4))


def sampled(mask: Mask, every: int) -> Mask:
    """The mask of one pixel in so many along both axes."""
    return None if mask is None else mask[:, ::every, ::every]


def whole_blocks(mask: Mask, size: int) -> Mask:
    """1 for the blocks all of whose pixels belong to the image, which begins at the top left."""
    return None if mask is None else mask[:, size - 1 :: size, size - 1 :: size]


def mean_over(x: Float[Array, "B H W C"], valid: Mask, axis: int) -> tuple[Float[Array, "B h w C"], Mask]:
    """Means over one axis, which stays with length 1, and where there is one."""
    if valid is None:
        return x.mean(axis, keepdims=True), None
    count = valid.sum(axis, keepdims=True)
    return (x * valid).sum(axis, keepdims=True) / jnp.maximum(count, 1), (count > 0).astype(jnp.float32)


def extremes(x: Float[Array, "B H W 1"], valid: Mask) -> tuple[Array, Array]:
    """The least and the greatest of values in [0,1], each (B,1); 1 and 0 where nothing is valid."""
    low, high = (x, x) if valid is None else (jnp.where(valid > 0, x, end) for end in (1.0, 0.0))
    return low.min((1, 2)), high.max((1, 2))


def neighbours(x: Float[Array, "B H W C"], axis: int, every: int = 1) -> tuple[Array, Array]:
    """Pixels, one of `every` along both axes, and the next ones along `axis`."""
    across = [slice(None), slice(None, None, every), slice(None, None, every)]
    before = x[tuple(across)]
    across[axis] = slice(1, None, every)
    after = x[tuple(across)]
    return before[:, : after.shape[1], : after.shape[2]], after


def both(valid: Mask, axis: int, every: int = 1) -> Mask:
    """Where both of `neighbours` are valid."""
    return None if valid is None else jnp.multiply(*neighbours(valid, axis, every))


def roughness(before: Float[Array, "B H W C"], after: Float[Array, "B H W C"], valid: Mask) -> list[Array]:
    """log of the mean, and mean of the log, of the differences between neighbours; each (B,C)."""
    step = jnp.abs(after - before)
    return [jnp.log(masked_mean(step, valid) + FLOOR), masked_mean(jnp.log(step + FLOOR), valid)]
