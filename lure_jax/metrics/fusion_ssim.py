"""Structural similarity of a fused image to its two sources, in the three ways tables have it."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.filters import separable
from lure_jax.metrics.masks import Mask, clear_padding, mean_over, whole_windows
from lure_jax.metrics.ms_ssim import ms_ssim
from lure_jax.metrics.ssim import K1, K2, ssim

SCRIPT_WINDOW, SCRIPT_RANGE = 7, 2.0


def fusion_ssim(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Mask = None,
) -> Float[Array, "B"]:
    """SSIM: (SSIM(F, A) + SSIM(F, B)) / 2 of Wang et al., range 255, higher is better, at most 1.

    Args:
      fused: (B, H, W) in 0..255, at least 11 x 11 pixels.
      infrared: A, same shape and range.
      visible: B, same shape and range.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,). Agrees with `ssim_index.m` of Wang et al. (see `lure_jax.metrics.ssim.ssim`); flat images: no NaN.
    """
    a, b = (ssim(fused, source, data_range=255, mask=mask) for source in (infrared, visible))
    return (a + b) / 2


def fusion_ms_ssim(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Mask = None,
) -> Float[Array, "B"]:
    """MSSSIM: (MS-SSIM(F, A) + MS-SSIM(F, B)) / 2, range 255, higher is better, in [0, 1].

    Arguments as `fusion_ssim`, at least 176 x 176 pixels. See `lure_jax.metrics.ms_ssim.ms_ssim`. The field's
    MATLAB toolbox calls another metric (MEF-SSIM) by this name.
    """
    a, b = (ms_ssim(fused, source, data_range=255, mask=mask) for source in (infrared, visible))
    return (a + b) / 2


def script_ssim(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Mask = None,
) -> Float[Array, "B"]:
    """SSIMc: SSIM(F, A) + SSIM(F, B) as CDDFuse's script had it, higher is better, at most 2.

    A 7 x 7 uniform window, sample variances (divided by 48), and, on values in 0..255, the constants of a data
    range of 2: so C1 and C2 hardly matter, and flat windows with equal values score 1. Shown to compare with
    published tables; use `fusion_ssim` otherwise.

    Args:
      fused: (B, H, W) in 0..255, at least 7 x 7 pixels, rounded to whole levels here: window sums are then exact
        in whole numbers, which constants this small need.
      infrared: A, same shape and range.
      visible: B, same shape and range.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,). Agrees with `Evaluator.SSIM` of CDDFuse's `Evaluator.py` (scikit-image, data_range 2).
    """
    fused, infrared, visible = (jnp.round(x) for x in clear_padding(mask, fused, infrared, visible))
    sum_f, power_f = _window_sum(fused), _window_sum(fused * fused)
    windows, total = whole_windows(mask, SCRIPT_WINDOW), 0.0
    for source in (infrared, visible):
        sum_s, power, product = _window_sum(source), _window_sum(source * source), _window_sum(fused * source)
        total += mean_over(_script_map(sum_f, sum_s, power_f + power, product), windows)
    return total


def _window_sum(x):
    ones = (1.0,) * SCRIPT_WINDOW
    return separable(x, ones, ones, "valid").astype(jnp.int32)  # below 2^24: exact in float32


def _script_map(sum_f, sum_s, power, product):
    count = SCRIPT_WINDOW**2
    c1, c2 = (K1 * SCRIPT_RANGE) ** 2 * count**2, (K2 * SCRIPT_RANGE) ** 2 * count * (count - 1)
    means, squares = sum_f * sum_s, sum_f * sum_f + sum_s * sum_s
    luminance = (2 * means + c1) / (squares + c1)
    return luminance * (2 * (count * product - means) + c2) / (count * power - squares + c2)
