"""Metrics from moments of whole images: correlation, sum of correlations of differences, PSNR."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.masks import Mask, clear_padding, mean_over, ratio, root


def pearson(x: Float[Array, "B H W"], y: Float[Array, "B H W"], mask: Mask = None) -> Float[Array, "B"]:
    """Returns Pearson's r of two images, in [-1, 1]; 0 where one of them is flat."""
    x, y = clear_padding(mask, x - x[:, :1, :1], y - y[:, :1, :1])  # a flat image becomes exactly 0
    x = x - mean_over(x, mask)[:, None, None]
    y = y - mean_over(y, mask)[:, None, None]
    scale = root(mean_over(x**2, mask)) * root(mean_over(y**2, mask))
    return ratio(mean_over(x * y, mask), scale)


def correlation_coefficient(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Mask = None,
) -> Float[Array, "B"]:
    """CC: (r(F, A) + r(F, B)) / 2, higher is better, in [-1, 1]; a flat image has r = 0.

    Args:
      fused: (B, H, W), any range.
      infrared: A, same shape.
      visible: B, same shape.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,). Agrees with `Evaluator.CC` of CDDFuse's `Evaluator.py`; the field's MATLAB toolbox subtracts the
      wrong mean and differs.
    """
    return (pearson(fused, infrared, mask) + pearson(fused, visible, mask)) / 2


def sum_of_correlations_of_differences(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Mask = None,
) -> Float[Array, "B"]:
    """SCD: r(F - B, A) + r(F - A, B), higher is better, in [-2, 2]; a flat source or difference adds 0.

    Args:
      fused: (B, H, W), any range.
      infrared: A, same shape and range.
      visible: B, same shape and range.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,). Agrees with `Evaluator.SCD` of CDDFuse's `Evaluator.py`.

    Source: Aslantas, Bendes, "A new image quality metric for image fusion", AEU 2015.
    """
    return pearson(fused - visible, infrared, mask) + pearson(fused - infrared, visible, mask)


def fusion_psnr(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Mask = None,
) -> Float[Array, "B"]:
    """PSNR of fusion: 10 log10(max(F)^2 / ((MSE(F, A) + MSE(F, B)) / 2)), higher is better.

    Infinite where F equals both sources; -inf for an all black F that does not.

    Args:
      fused: (B, H, W) in 0..255.
      infrared: A, same shape and range.
      visible: B, same shape and range.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,) in dB. Agrees with `Evaluator.PSNR` of CDDFuse's `Evaluator.py` (peak = the largest fused value); the
      field's MATLAB toolbox is offset by 48.13 dB.
    """
    fused, infrared, visible = clear_padding(mask, fused, infrared, visible)
    error = mean_over((fused - infrared) ** 2, mask) + mean_over((fused - visible) ** 2, mask)
    return _decibel(fused.max((1, 2)), error / 2)


def psnr(
    x: Float[Array, "B H W *C"],
    reference: Float[Array, "B H W *C"],
    *,
    data_range: float = 1.0,
    mask: Mask = None,
) -> Float[Array, "B"]:
    """PSNR against a reference: 10 log10(L^2 / MSE) in dB, higher is better; infinite for equal images.

    Args:
      x: (B, H, W) or (B, H, W, C) in [0, data_range].
      reference: same shape and range.
      data_range: L, 1 for images in [0, 1], 255 for 8-bit values.
      mask: (B, H, W), True inside the image.

    Returns:
      (B,) in dB. Agrees with scikit-image's `peak_signal_noise_ratio`.
    """
    x, reference = clear_padding(mask, x, reference)
    return _decibel(data_range, mean_over((x - reference) ** 2, mask))


def _decibel(peak, error):
    return jnp.where(error > 0, 10 * jnp.log10(peak**2 / jnp.where(error > 0, error, 1)), jnp.inf)
