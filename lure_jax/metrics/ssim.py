"""Structural similarity of Wang et al. (2004), for losses and for tables."""

from jaxtyping import Array, Float

from lure_jax.metrics.filters import gaussian_blur
from lure_jax.metrics.masks import Mask, clear_padding, mean_over, whole_windows

WINDOW, SD, K1, K2 = 11, 1.5, 0.01, 0.03


def ssim_maps(
    x: Float[Array, "B H W *C"], y: Float[Array, "B H W *C"], data_range: float
) -> tuple[Float[Array, "B h w *C"], Float[Array, "B h w *C"]]:
    """Returns the luminance term and the contrast-structure term of every whole 11 x 11 window.

    Their product is the SSIM map; MS-SSIM takes the second alone at its finer scales.
    """
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_x, mean_y, power, product = (
        gaussian_blur(z, WINDOW, SD, "valid") for z in (x, y, x * x + y * y, x * y)
    )
    mean_product, mean_power = mean_x * mean_y, mean_x**2 + mean_y**2
    luminance = (2 * mean_product + c1) / (mean_power + c1)
    structure = (2 * (product - mean_product) + c2) / (power - mean_power + c2)
    return luminance, structure


def ssim(
    x: Float[Array, "B H W *C"],
    y: Float[Array, "B H W *C"],
    *,
    data_range: float = 1.0,
    mask: Mask = None,
) -> Float[Array, "B"]:
    """Structural similarity, higher is better; 1 for equal images, at least -1.

    SSIM = (2 m_x m_y + C1)(2 s_xy + C2) / ((m_x^2 + m_y^2 + C1)(s_x^2 + s_y^2 + C2)), with moments under an
    11 x 11 Gaussian window of standard deviation 1.5, C1 = (0.01 L)^2, C2 = (0.03 L)^2, L the data range;
    averaged over whole windows ("valid") and channels. Flat images have zero variance, so only the luminance
    term is left: never a NaN.

    Args:
      x: (B, H, W) or (B, H, W, C) in [0, data_range], at least 11 x 11 pixels.
      y: the other image, same shape; the result is symmetric.
      data_range: L, 1 for images in [0, 1], 255 for 8-bit values.
      mask: (B, H, W), True inside the image. Windows that touch a False pixel do not count: a padded image
        scores as the unpadded one. An image without one whole window scores 0.

    Returns:
      (B,), one value an image.

    Raises:
      ValueError: the image is smaller than 11 x 11.

    Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 2004; agrees with its `ssim_index.m`.
    """
    x, y = clear_padding(mask, x, y)
    luminance, structure = ssim_maps(x, y, data_range)
    return mean_over(luminance * structure, whole_windows(mask, WINDOW))
