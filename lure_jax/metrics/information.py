"""Metrics from histograms of 8-bit values: entropy and mutual information."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lure_jax.metrics.masks import Mask

LEVELS = 256


def entropy(fused: Float[Array, "B H W"], mask: Mask = None) -> Float[Array, "B"]:
    """EN: -sum_k p_k log2 p_k over the 256 grey levels, higher is better; 0 (flat image) to 8 bits.

    No reference: stretching raises it.

    Args:
      fused: (B, H, W) in 0..255, rounded to whole levels here.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,) in bits. Agrees with `Evaluator.EN` of CDDFuse's `Evaluator.py`.
    """
    return _entropy(_counts(_levels(fused), mask, LEVELS)) / jnp.log(2.0)


def mutual_information(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Mask = None,
) -> Float[Array, "B"]:
    """MI: I(F; A) + I(F; B) in nats, higher is better; 0 where F or both sources are flat.

    I(F; A) = sum p(f,a) log(p(f,a) / (p(f) p(a))) over 256 x 256 bins; at most H(A) + H(B).

    Args:
      fused: (B, H, W) in 0..255, rounded to whole levels here.
      infrared: A, same shape and range.
      visible: B, same shape and range.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,) in nats. Agrees with `Evaluator.MI` of CDDFuse's `Evaluator.py` (scikit-learn's
      `mutual_info_score`). MATLAB toolboxes of the field and tables copied from them are in bits.
    """
    f, a, b = _levels(fused), _levels(infrared), _levels(visible)
    return _shared(f, a, mask) + _shared(f, b, mask)


def mutual_information_bits(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Mask = None,
) -> Float[Array, "B"]:
    """MI2: `mutual_information` in bits (that of the field's MATLAB toolbox): larger by 1 / ln 2 = 1.4427."""
    return mutual_information(fused, infrared, visible, mask) / jnp.log(2.0)


def _levels(x: Float[Array, "B H W"]) -> Int[Array, "B H W"]:
    return jnp.clip(jnp.round(x), 0, LEVELS - 1).astype(jnp.int32)


def _counts(index: Int[Array, "B H W"], mask: Mask, bins: int) -> Int[Array, "B bins"]:
    """Counts each value in 0..bins-1. In whole numbers: float32 stops counting at 2^24."""
    if mask is not None:
        index = jnp.where(mask, index, bins)  # out of range: dropped
    flat = index.reshape(index.shape[0], -1)
    return jax.vmap(lambda i: jnp.zeros(bins, jnp.int32).at[i].add(1, mode="drop"))(flat)


def _entropy(counts: Int[Array, "B *bins"]) -> Float[Array, "B"]:
    axes = tuple(range(1, counts.ndim))
    p = counts / jnp.maximum(counts.sum(axes, keepdims=True), 1)
    return -jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0).sum(-1).sum(axes[:-1])


def _shared(f, a, mask):
    joint = _counts(f * LEVELS + a, mask, LEVELS**2).reshape(-1, LEVELS, LEVELS)
    total = jnp.maximum(joint.sum((1, 2), keepdims=True), 1)
    p, p_f, p_a = joint / total, joint.sum(2, keepdims=True) / total, joint.sum(1, keepdims=True) / total
    logs = jnp.log(jnp.where(joint > 0, p, 1)) - jnp.log(jnp.where(joint > 0, p_f * p_a, 1))
    return (p * logs).sum(2).sum(1)
