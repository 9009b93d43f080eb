"""Fusion without learning: six classical rules on luma, the visible image's chroma kept.

The variants are those behind the numbers recorded for these names: OpenCV's pyramid, Li's guided filter with
clipped weights, PyWavelets' db2. On rounded luma they agree to 1e-3; the stretched rule to 1 % on average (2 % EN),
because the recorded one rounded its Laplacian to 8 bits before it stretched. Through RGB single images differ by up
to 5 % where a colour leaves the gamut and is clipped; the means stay within 1 %.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lure_jax.metrics.color import rgb_to_ycbcr, ycbcr_to_rgb
from lure_jax.metrics.filters import gaussian_taps, separable, uniform_taps

Luma = Float[Array, "B H W"]
Rule = Callable[[Luma, Luma], Luma]
Fuse = Callable[[Float[Array, "B H W 3"], Float[Array, "B H W 1"]], Float[Array, "B H W 3"]]

PYRAMID_LEVELS, WAVELET_LEVELS = 5, 4
# Daubechies' db2 (four taps, two vanishing moments) as `separable` wants it: a correlation's taps.
LOW = tuple(((np.array([1, 3, 3, 1]) + np.sqrt(3) * np.array([1, 1, -1, -1])) / np.sqrt(32)).tolist())
HIGH = (LOW[3], -LOW[2], LOW[1], -LOW[0])
BASE_WINDOW, SALIENCY_WINDOW, SALIENCY_SD = 31, 11, 5.0
BASE_GUIDE, DETAIL_GUIDE = (45, 0.3), (7, 1e-6)  # radius in pixels, regularisation for values in [0, 1]


def average(visible: Luma, infrared: Luma) -> Luma:
    """Returns (V + I) / 2."""
    return (visible + infrared) / 2


def maximum(visible: Luma, infrared: Luma) -> Luma:
    """Returns max(V, I) pixel by pixel."""
    return jnp.maximum(visible, infrared)


def laplacian(visible: Luma, infrared: Luma) -> Luma:
    """Laplacian pyramid of five levels: the stronger detail at each level, the mean of the two tops.

    Args:
      visible: (B, H, W) luma in [0, 1], at least 33 x 33 pixels.
      infrared: same shape and range.

    Returns:
      (B, H, W), clipped to [0, 1].

    Raises:
      ValueError: the image is smaller than 33 x 33.

    Source: Burt, Adelson, "The Laplacian pyramid as a compact image code", IEEE TCOM 1983; filters and borders as
    OpenCV's `pyrDown` and `pyrUp`.
    """
    _require(visible, 2**PYRAMID_LEVELS + 1, "laplacian")
    pyramids = [[visible], [infrared]]
    for levels in pyramids:
        for _ in range(PYRAMID_LEVELS):
            levels.append(_down(levels[-1]))
    fused = average(pyramids[0][-1], pyramids[1][-1])
    for k in reversed(range(PYRAMID_LEVELS)):
        details = [levels[k] - _up(levels[k + 1], levels[k].shape) for levels in pyramids]
        fused = _up(fused, visible.shape[:1] + pyramids[0][k].shape[1:]) + _stronger(*details)
    return jnp.clip(fused, 0, 1)


def stretched_laplacian_max(visible: Luma, infrared: Luma) -> Luma:
    """Half `laplacian`, half `maximum`; then 0.3 of it + 0.7 of it stretched from its 0.1 to its 99.9 percentile.

    It tops the field's nine-metric rank, because stretching wins EN, SD, SF and AG. Arguments as `laplacian`.
    """
    fused = average(laplacian(visible, infrared), maximum(visible, infrared))
    low, high = jnp.percentile(fused.reshape(fused.shape[0], -1), jnp.array([0.1, 99.9]), axis=1)[
        :, :, None, None
    ]
    stretched = jnp.where(high > low, (fused - low) / jnp.where(high > low, high - low, 1), fused)
    return 0.3 * fused + 0.7 * jnp.clip(stretched, 0, 1)


def guided_filter(visible: Luma, infrared: Luma) -> Luma:
    """Guided-filter fusion of two scales.

    Base = mean over 31 x 31, detail = the rest. The image with the larger saliency (|Laplacian| under an 11 x 11
    Gaussian of standard deviation 5) wins the pixel; these binary maps, refined by guided filters (radius 45,
    eps 0.3 for the base; radius 7, eps 1e-6 for the detail), clipped to [0, 1] and normalised, are the weights.

    Args:
      visible: (B, H, W) luma in [0, 1], at least 45 x 45 pixels.
      infrared: same shape and range.

    Returns:
      (B, H, W), clipped to [0, 1].

    Raises:
      ValueError: the image is smaller than 45 x 45.

    Source: Li, Kang, Hu, "Image fusion with guided filtering", IEEE TIP 2013, with its parameters; the clipping of
    the weights is that of the recorded numbers.
    """
    _require(visible, BASE_GUIDE[0], "guided_filter")
    wins = _saliency(infrared) >= _saliency(visible)
    weights = []
    for guide in (BASE_GUIDE, DETAIL_GUIDE):
        first, second = (
            jnp.clip(_guided(image, won.astype(image.dtype), *guide), 0, 1)
            for image, won in ((infrared, wins), (visible, ~wins))
        )
        weights.append((first + 1e-12) / (first + second + 2e-12))
    base_i, base_v = _box(infrared, BASE_WINDOW // 2), _box(visible, BASE_WINDOW // 2)
    base = weights[0] * base_i + (1 - weights[0]) * base_v
    detail = weights[1] * (infrared - base_i) + (1 - weights[1]) * (visible - base_v)
    return jnp.clip(base + detail, 0, 1)


def dwt_max(visible: Luma, infrared: Luma) -> Luma:
    """Wavelet fusion: four levels of db2, the stronger detail coefficient, the mean of the approximations.

    Args:
      visible: (B, H, W) luma in [0, 1], at least 24 x 24 pixels.
      infrared: same shape and range.

    Returns:
      (B, H, W), clipped to [0, 1]. Agrees with PyWavelets' `wavedec2` and `waverec2` in mode "symmetric".

    Raises:
      ValueError: the image is smaller than 24 x 24.
    """
    _require(visible, 24, "dwt_max")
    return jnp.clip(_fuse_wavelets(visible, infrared, WAVELET_LEVELS), 0, 1)


def _require(image, pixels, name):
    height, width = image.shape[1:]
    if min(height, width) < pixels:
        raise ValueError(
            f"baseline {name} got an image of {height}x{width} pixels; give at least {pixels}x{pixels}."
        )


def _stronger(x, y):
    return jnp.where(jnp.abs(x) >= jnp.abs(y), x, y)


def _pad(x, amount, mode):
    return jnp.pad(x, ((0, 0), (amount, amount), (amount, amount)), mode=mode)


def _down(x):
    taps = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
    return separable(_pad(x, 2, "reflect"), taps, taps, "valid")[:, ::2, ::2]


def _up(x, shape):
    for axis in (1, 2):  # OpenCV reflects before the first pixel and repeats the last one
        x = jnp.moveaxis(x, axis, 2)
        padded = jnp.concatenate([x[:, :, 1:2], x, x[:, :, -1:]], 2)
        before, here, after = padded[:, :, :-2], padded[:, :, 1:-1], padded[:, :, 2:]
        both = jnp.stack([(before + 6 * here + after) / 8, (here + after) / 2], -1)
        x = jnp.moveaxis(both.reshape(*x.shape[:2], -1)[:, :, : shape[axis]], 2, axis)
    return x


def _box(x, radius):
    taps = uniform_taps(2 * radius + 1)
    return separable(_pad(x, radius, "symmetric"), taps, taps, "valid")


def _saliency(x):
    edge = _pad(x, 1, "reflect")
    around = edge[:, 1:-1, 2:] + edge[:, 1:-1, :-2] + edge[:, 2:, 1:-1] + edge[:, :-2, 1:-1]
    taps = gaussian_taps(SALIENCY_WINDOW, SALIENCY_SD)
    return separable(_pad(jnp.abs(around - 4 * x), SALIENCY_WINDOW // 2, "reflect"), taps, taps, "valid")


def _guided(image, target, radius, regularisation):
    image = image - image.mean((1, 2), keepdims=True)  # keeps the variance's digits in float32
    mean, mean_target = _box(image, radius), _box(target, radius)
    covariance = _box(image * target, radius) - mean * mean_target
    slope = covariance / (jnp.maximum(_box(image * image, radius) - mean**2, 0) + regularisation)
    return _box(slope, radius) * image + _box(mean_target - slope * mean, radius)


def _fuse_wavelets(visible, infrared, levels):
    if levels == 0:
        return average(visible, infrared)
    bands = [_analysis(x) for x in (infrared, visible)]
    details = [_stronger(i, v) for i, v in zip(bands[0][1:], bands[1][1:], strict=True)]
    inner = _fuse_wavelets(bands[1][0], bands[0][0], levels - 1)
    return _synthesis([inner, *details])[:, : visible.shape[1], : visible.shape[2]]


def _analysis(x):
    padded = _pad(x, len(LOW) - 1, "symmetric")
    return [separable(padded, v, h, "valid")[:, 1::2, 1::2] for v in (LOW, HIGH) for h in (LOW, HIGH)]


def _synthesis(bands):
    filters = [(v, h) for v in (LOW, HIGH) for h in (LOW, HIGH)]
    height, width = bands[1].shape[1:]
    total = 0.0
    for band, (vertical, horizontal) in zip(bands, filters, strict=True):
        sparse = jnp.zeros((band.shape[0], 2 * height + 1, 2 * width + 1), band.dtype)
        sparse = sparse.at[:, 1::2, 1::2].set(band[:, :height, :width])
        total += separable(sparse, vertical[::-1], horizontal[::-1], "valid")
    return total


RULES: dict[str, Rule] = {
    "average": average,
    "max": maximum,
    "laplacian": laplacian,
    "guided_filter": guided_filter,
    "dwt_max": dwt_max,
    "stretched_laplacian_max": stretched_laplacian_max,
}


def _in_colour(rule: Rule) -> Fuse:
    @jax.jit
    def fuse(visible, infrared):
        ycbcr = rgb_to_ycbcr(visible)
        fused = rule(ycbcr[..., 0], infrared[..., 0])
        return jnp.clip(ycbcr_to_rgb(ycbcr.at[..., 0].set(fused)), 0, 1)

    fuse.__doc__ = (
        f"Fuses with `{rule.__name__}`: visible (B, H, W, 3), infrared (B, H, W, 1) -> (B, H, W, 3)."
    )
    return fuse


BASELINES: dict[str, Fuse] = {name: _in_colour(rule) for name, rule in RULES.items()}
