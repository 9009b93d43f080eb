"""Visual information fidelity in the pixel domain (VIFp), of a fused image towards both sources."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.filters import fence, gaussian_blur
from lure_jax.metrics.masks import Mask, clear_padding, mean_over, ratio, sum_over, whole_windows

WINDOWS = (17, 9, 5, 3)
NOISE = 2.0
TINY = 1e-10


def vif(
    fused: Float[Array, "B H W"],
    infrared: Float[Array, "B H W"],
    visible: Float[Array, "B H W"],
    mask: Mask = None,
) -> Float[Array, "B"]:
    """VIF: vifp(A, F) + vifp(B, F), higher is better; each term 1 for a copy of its source, above with more contrast.

    vifp(A, F) = sum log(1 + g^2 s_A^2 / (s_v^2 + 2)) / sum log(1 + s_A^2 / 2) over four scales and whole windows,
    g = s_AF / s_A^2, s_v^2 = s_F^2 - g s_AF; windows of 17, 9, 5, 3 pixels with standard deviation N/5; every scale
    after the first is blurred with its window and halved. A flat source carries no information: its term is 0.

    Args:
      fused: (B, H, W) in 0..255 (the noise variance 2 is in these units), at least 41 x 41 pixels.
      infrared: A, same shape and range.
      visible: B, same shape and range.
      mask: (B, H, W), True inside the image, which starts at the top left corner.

    Returns:
      (B,). Agrees with `Evaluator.VIFF` of CDDFuse's `Evaluator.py` (`vifp_mscale`).

    Raises:
      ValueError: the image is too small for four scales.

    Source: Sheikh, Bovik, "Image information and visual quality", IEEE TIP 2006.
    """
    # Variances do not know the mean; without it float32 keeps two more digits of them.
    images = tuple(
        x - jnp.round(mean_over(x, mask))[:, None, None] for x in clear_padding(mask, fused, infrared, visible)
    )
    kept, total = [0.0, 0.0], [0.0, 0.0]
    for scale, size in enumerate(WINDOWS):
        sd = size / 5
        if scale:
            images = tuple(fence(gaussian_blur(x, size, sd, "valid")[:, ::2, ::2]) for x in images)
            mask = None if mask is None else whole_windows(mask, size)[:, ::2, ::2]
        windows = whole_windows(mask, size)
        f, *sources = images
        mean_f, var_f = _moments(f, size, sd)
        for k, source in enumerate(sources):
            mean_s, var_s = _moments(source, size, sd)
            covariance = gaussian_blur(f * source, size, sd, "valid") - mean_f * mean_s
            kept[k] += sum_over(_information(var_s, var_f, covariance), windows)
            total[k] += sum_over(jnp.log1p(jnp.maximum(var_s, 0) / NOISE), windows)
    return ratio(kept[0], total[0]) + ratio(kept[1], total[1])


def _moments(x, size, sd):
    mean = gaussian_blur(x, size, sd, "valid")
    return mean, gaussian_blur(x * x, size, sd, "valid") - mean**2


def _information(source, fused, covariance):
    """Returns log(1 + g^2 s_A^2 / (s_v^2 + noise)) with the script's rules for flat and inverted windows."""
    source, fused = jnp.maximum(source, 0), jnp.maximum(fused, 0)
    gain = covariance / (source + TINY)
    rest = fused - gain * covariance
    gain, rest = jnp.where(source < TINY, 0, gain), jnp.where(source < TINY, fused, rest)
    source = jnp.where(source < TINY, 0, source)
    gain, rest = jnp.where(fused < TINY, 0, gain), jnp.where(fused < TINY, 0, rest)
    rest, gain = jnp.where(gain < 0, fused, rest), jnp.maximum(gain, 0)
    return jnp.log1p(gain**2 * source / (jnp.maximum(rest, TINY) + NOISE))
