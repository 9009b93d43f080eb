"""The field's fusion metrics under their names in tables, and all of them in one call."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from lure_jax.metrics.contrast import average_gradient, spatial_frequency, standard_deviation
from lure_jax.metrics.correlation import (
    correlation_coefficient,
    fusion_psnr,
    sum_of_correlations_of_differences,
)
from lure_jax.metrics.fusion_ssim import fusion_ms_ssim, fusion_ssim, script_ssim
from lure_jax.metrics.information import entropy, mutual_information, mutual_information_bits
from lure_jax.metrics.masks import Mask
from lure_jax.metrics.qabf import qabf
from lure_jax.metrics.vif import vif


class Metric(NamedTuple):
    """One column of a table.

    Attributes:
      function: f(fused, infrared, visible, mask=None) -> (B,), or f(fused, mask=None) without sources.
      larger_is_better: the direction.
      needs_source: whether it refers to the sources; only such metrics are fit to rank by.
    """

    function: Callable[..., Float[Array, "B"]]
    larger_is_better: bool
    needs_source: bool


FUSION_METRICS: dict[str, Metric] = {
    "EN": Metric(entropy, True, False),
    "SD": Metric(standard_deviation, True, False),
    "SF": Metric(spatial_frequency, True, False),
    "AG": Metric(average_gradient, True, False),
    "MI": Metric(mutual_information, True, True),
    "MI2": Metric(mutual_information_bits, True, True),
    "SCD": Metric(sum_of_correlations_of_differences, True, True),
    "VIF": Metric(vif, True, True),
    "Qabf": Metric(qabf, True, True),
    "SSIM": Metric(fusion_ssim, True, True),
    "SSIMc": Metric(script_ssim, True, True),
    "MSSSIM": Metric(fusion_ms_ssim, True, True),
    "CC": Metric(correlation_coefficient, True, True),
    "PSNR": Metric(fusion_psnr, True, True),
}


# One call a metric: XLA:CPU gives a single call for all of them a hundred MB of temporaries an image, and fresh
# pages of that size cost more than the arithmetic.
_COMPILED = {name: jax.jit(metric.function) for name, metric in FUSION_METRICS.items()}


def evaluate_fused(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Mask = None,
) -> dict[str, Float[Array, "B"]]:
    """Computes every metric of `FUSION_METRICS`, compiled; no NaN for flat images.

    Works on sharded batches and inside another `jit`. On a CPU, one image at a time is fastest: it stays in cache.

    Args:
      fused: (B, H, W) luma as 8-bit values 0..255 in float32, at least 176 x 176 pixels (for MSSSIM).
      infrared: A, same shape and range.
      visible: B, the visible luma, same shape and range.
      mask: (B, H, W), True inside the image, False in padding below and to the right of it: the result is then
        that of the image without padding.

    Returns:
      One (B,) array a metric, under its name in tables.

    Raises:
      ValueError: the images are too small.
    """
    return {
        name: compiled(fused, infrared, visible, mask)
        if FUSION_METRICS[name].needs_source
        else compiled(fused, mask)
        for name, compiled in _COMPILED.items()
    }
