"""Halos: fused luma that leaves the range of both sources."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

NEIGHBOURHOOD = 7  # pixels a side, within which sources say what values are to be expected


def overshoot(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Bool[Array, "B H W"] | None = None,
) -> Float[Array, "B H W"]:
    """How far each pixel lies above the largest or below the smallest source value around it (7 x 7); halos do.

    Args:
      fused: luma, in any range; differentiable.
      infrared: in the same range.
      visible: luma, in the same range.
      mask: where the sources are images; None for everywhere.

    Returns:
      At least 0, in the units of the inputs.
    """
    top, bottom = jnp.maximum(infrared, visible), jnp.minimum(infrared, visible)
    if mask is not None:
        top, bottom = jnp.where(mask, top, -jnp.inf), jnp.where(mask, bottom, jnp.inf)
    above, below = fused - _largest(top), -_largest(-bottom) - fused
    return jnp.maximum(jnp.maximum(above, below), 0)


def _largest(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, NEIGHBOURHOOD, NEIGHBOURHOOD), (1, 1, 1), "SAME")
