"""Qabf of Xydeas and Petrovic: how much of the sources' edges the fused image keeps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.filters import sobel
from lure_jax.metrics.masks import Mask, clear_padding, mean_over, ratio, root

STRENGTH_GAIN, STRENGTH_SLOPE, STRENGTH_CENTRE = 0.9994, 15.0, 0.5
ARCTAN = (
    0.0028662257, -0.0161657367, 0.0429096138, -0.0752896400, 0.1065626393,
    -0.1420889944, 0.1999355085, -0.3333314528, 1.0,
)  # fmt: skip
ANGLE_GAIN, ANGLE_SLOPE, ANGLE_CENTRE = 0.9879, 22.0, 0.8


def qabf(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Mask = None,
) -> Float[Array, "B"]:
    """Qabf: edge strength and direction kept, weighted by the sources' edges; higher is better, in [0, 0.9873).

    With Sobel gradients (zeros outside the image), strength g and direction a = atan(gy / gx),
    G = min(g_F, g_A) / max(g_F, g_A), D = 1 - |a_A - a_F| / (pi / 2),
    Q_AF = 0.9994 / (1 + exp(-15 (G - 0.5))) * 0.9879 / (1 + exp(-22 (D - 0.8))),
    Qabf = sum(Q_AF g_A + Q_BF g_B) / sum(g_A + g_B). 0 where both sources are black. A flat source that is not black
    has edges at the zero border.

    Args:
      fused: (B, H, W) in 0..255.
      infrared: A, same shape and range.
      visible: B, same shape and range.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,). Agrees with `Evaluator.Qabf` of CDDFuse's `Evaluator.py`.

    Source: Xydeas, Petrovic, "Objective image fusion performance measure", Electronics Letters 2000.
    """
    fused, infrared, visible = clear_padding(mask, fused, infrared, visible)
    strength, angle = _edges(fused)
    kept = total = 0.0
    for source in (infrared, visible):
        source_strength, source_angle = _edges(source)
        quality = _preservation(strength, angle, source_strength, source_angle)
        kept += mean_over(quality * source_strength, mask)
        total += mean_over(source_strength, mask)
    return ratio(kept, total)


def _edges(x):
    gx, gy = sobel(x)
    # The sign is the public script's: it convolves (flips the kernel), and sets +pi/2 where gx is 0.
    flip = jnp.where(gx * gy > 0, -1.0, 1.0)
    across, along = jnp.abs(gx), jnp.abs(gy)
    return root(gx**2 + gy**2), jnp.where(gx == 0, jnp.pi / 2, flip * _angle(across, along))


def _angle(x, y):
    """Returns atan(y / x) of non-negative x, y, to 2e-8 (Abramowitz and Stegun 4.4.49; XLA:CPU's is slow)."""
    larger, smaller = jnp.maximum(x, y), jnp.minimum(x, y)
    t = smaller / jnp.where(larger == 0, 1, larger)
    angle = t * jnp.polyval(jnp.array(ARCTAN), t * t, unroll=len(ARCTAN))
    return jnp.where(y > x, jnp.pi / 2 - angle, angle)


def _preservation(strength, angle, source_strength, source_angle):
    larger = jnp.maximum(strength, source_strength)
    smaller = jnp.minimum(strength, source_strength)
    # Equal strengths: the script puts the strength itself where the paper has 1; kept, to agree to the last digit.
    change = jnp.where(larger == smaller, larger, smaller / jnp.where(larger == 0, 1, larger))
    turn = 1 - jnp.abs(source_angle - angle) / (jnp.pi / 2)
    kept_strength = STRENGTH_GAIN * jax.nn.sigmoid(STRENGTH_SLOPE * (change - STRENGTH_CENTRE))
    return kept_strength * ANGLE_GAIN * jax.nn.sigmoid(ANGLE_SLOPE * (turn - ANGLE_CENTRE))
