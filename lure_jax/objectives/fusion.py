"""Losses of the fused image (method A4): on luma, colour apart.

After LURE (arXiv 2503.07033); reconstruction.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.metrics.color import rgb_to_ycbcr, ycbcr_to_rgb
from lure_jax.metrics.color_difference import lightness_difference, srgb_to_lab
from lure_jax.metrics.correlation import sum_of_correlations_of_differences
from lure_jax.metrics.filters import gaussian_blur, sobel
from lure_jax.metrics.halos import overshoot
from lure_jax.metrics.information import LEVELS
from lure_jax.metrics.qabf import qabf
from lure_jax.metrics.ssim import ssim
from lure_jax.metrics.vif import vif

SCALES = (1.0, 2.0, 4.0, 8.0)  # standard deviations in pixels
NOT_CLIPPED = 126 / 255  # of luma from the middle
SURROUNDINGS = 16.0  # standard deviation in pixels of what an object is hotter than
HOT = (0.06, 0.2)  # infrared above its surroundings: not yet, and fully
ENOUGH = 1.75  # of SCD: at night it comes by itself, and more of it costs all other metrics


def local_contrast_selection(a: Float[Array, "B H W"], b: Float[Array, "B H W"]) -> Float[Array, "B H W"]:
    """At every scale the detail of larger magnitude, on the maximum of what is left of both images (about [0, 1]).

    An undecimated Laplacian pyramid: details are differences of Gaussian blurs of growing width.
    """
    fused = 0.0
    for sd in SCALES:
        low_a, low_b = _blur(a, sd), _blur(b, sd)
        detail_a, detail_b = a - low_a, b - low_b
        fused = fused + jnp.where(jnp.abs(detail_a) > jnp.abs(detail_b), detail_a, detail_b)
        a, b = low_a, low_b
    return fused + jnp.maximum(a, b)


def _blur(image: Float[Array, "B H W"], sd: float) -> Float[Array, "B H W"]:
    size = 2 * int(2 * sd) + 1
    # "same" surrounds the image with zeros; dividing by the blur of ones takes their share out
    return gaussian_blur(image, size, sd) / gaussian_blur(jnp.ones_like(image[:1]), size, sd)


def heat_lost(
    fused: Float[Array, "B H W"], visible: Float[Array, "B H W"], infrared: Float[Array, "B H W"]
) -> Float[Array, "B"]:
    """By how much luma stays below the maximum of both images where the infrared one is hot and small; ours.

    The mean over the image, each pixel weighted by how much hotter it is than its surroundings (`HOT`), at most 1. All
    lumas are in [0,1], and so is the result.
    Without it the metrics leave a warm person before a wall of the same brightness as faint as the eye sees them.
    """
    cool, hot = HOT
    weight = jnp.clip((infrared - _blur(infrared, SURROUNDINGS) - cool) / (hot - cool), 0, 1)
    return (weight * jax.nn.relu(jnp.maximum(visible, infrared) - fused)).mean((1, 2))


def soft_mutual_information(
    fused: Float[Array, "B H W"], source: Float[Array, "B H W"], sd: float = 1.0
) -> Float[Array, "B"]:
    """I(F; A) in nats of `metrics.information`, with a gradient: from a Parzen estimate of the joint density.

    Each pixel of `fused` is shared between the two levels beside its value, and the joint histogram is blurred.

    Args:
      fused: (B, H, W) in 0..255; what is beyond counts as 0 or 255.
      source: A, same shape and range, rounded to whole levels here.
      sd: of the blur along both axes, in levels; with 0 and whole levels this is the metric.

    Returns:
      (B,), smaller than the metric: the blur forgives an error of about `sd` levels.
    """
    below, share = _between_levels(fused)
    place = below * LEVELS + jnp.round(source).astype(jnp.int32).reshape(share.shape)

    def histogram(place, share):
        return jnp.zeros(LEVELS**2).at[place].add(1 - share).at[place + LEVELS].add(share)

    joint = jax.vmap(histogram)(place, share).reshape(-1, LEVELS, LEVELS)
    if sd:
        joint = gaussian_blur(joint, 2 * int(3 * sd) + 1, sd)
    joint /= joint.sum((1, 2), keepdims=True)

    return _negative_entropy(joint) - _negative_entropy(joint.sum(1)) - _negative_entropy(joint.sum(2))


def soft_entropy(fused: Float[Array, "B H W"]) -> Float[Array, "B"]:
    """EN in bits of `metrics.information`, with a gradient: each pixel is shared between the levels beside its value.

    `fused`: (B, H, W) in 0..255; what is beyond counts as 0 or 255.
    """

    def histogram(place, share):
        return jnp.zeros(LEVELS).at[place].add(1 - share).at[place + 1].add(share)

    return -_negative_entropy(jax.vmap(histogram)(*_between_levels(fused)) / fused[0].size) / jnp.log(2.0)


def _between_levels(image):
    """Of each pixel (B,H*W) the whole level at or below its value, at most 254, and how far it is above that one."""
    levels = jnp.clip(image, 0, LEVELS - 1).reshape(len(image), -1)
    below = jnp.minimum(jax.lax.stop_gradient(jnp.floor(levels)), LEVELS - 2)
    return below.astype(jnp.int32), levels - below


def _negative_entropy(p):
    return (p * jnp.log(p + 1e-12)).reshape(len(p), -1).sum(1)


def lightness_beyond_maximum(
    fused: Float[Array, "B H W 3"], visible: Float[Array, "B H W 3"], infrared: Float[Array, "B H W 1"]
) -> Float[Array, "B"]:
    """By how much the fused image's lightness is further from the visible one's than that of the maximum is; ours.

    The mean of CIEDE2000's part of lightness over the image, in its units of about a just noticeable difference; 0 if
    it is no further. The gradient is that of the pixels beyond the maximum's: if the others had one, hot objects, where
    most can be saved, would be dimmed first. Arguments as `fusion_losses`.
    """
    ycbcr = rgb_to_ycbcr(visible)
    maximum = ycbcr_to_rgb(ycbcr.at[..., 0].max(infrared[..., 0]))
    lightness, furthest, own = (srgb_to_lab(jnp.clip(rgb, 0, 1))[..., 0] for rgb in (fused, maximum, visible))
    beyond = jnp.abs(lightness_difference(lightness, own)) - jnp.abs(lightness_difference(furthest, own))
    saved = jax.lax.stop_gradient(jax.nn.relu(-beyond))
    return jax.nn.relu((jax.nn.relu(beyond) - saved).mean((1, 2)))


class FusionWeights(NamedTuple):
    """Weights of the terms of `fusion_losses`."""

    intensity: float = 10.0
    gradient: float = 10.0
    similarity: float = 1.0
    colour: float = 12.0
    information: float = 0.5
    edges: float = 2.0
    differences: float = 0.2
    overshoot: float = 0.0
    mutual: float = 0.0
    lightness: float = 0.0
    heat: float = 0.0
    entropy: float = 0.0


def fusion_losses(
    fused: Float[Array, "B H W 3"], visible: Float[Array, "B H W 3"], infrared: Float[Array, "B H W 1"]
) -> dict[str, Float[Array, ""]]:
    """The terms of L_II against the clean sources, unweighted.

    intensity |Y_f - M|_1, M the mean of max(Y_v, Y_i), as the method has it, and of the local contrast selection
    (ours: the maximum alone loses contrast where one image is bright and flat);
    gradient |S_d Y_f - max(S_d Y_v, S_d Y_i)|_1 summed over both directions d, S = |Sobel| / 4;
    similarity 2 - SSIM(Y_f, Y_v) - SSIM(Y_f, Y_i);
    colour |Cb_f - Cb_v|_1 + |Cr_f - Cr_v|_1;
    and ours, the field's metrics of each crop: information 2 - VIF, edges 1 - Qabf, mutual 4 - MI
    (`soft_mutual_information`), entropy 8 - EN (`soft_entropy`) and differences, how far SCD is below 1.75;
    lightness, `lightness_beyond_maximum` / 100, so that a dark infrared sky does not darken a bright day's;
    heat, `heat_lost`, so that warm people stand out by day;
    overshoot, how far Y_f leaves the range of both sources within 7 x 7 pixels, and how far it comes within 1.5 levels
    of black or white, whatever the sources.
    """
    lightness = lightness_beyond_maximum(fused, visible, infrared).mean() / 100
    fused, visible, infrared = rgb_to_ycbcr(fused), rgb_to_ycbcr(visible), infrared[..., 0]
    y_f, y_v = fused[..., 0], visible[..., 0]
    slopes = [[jnp.abs(g) / 4 for g in sobel(y)] for y in (y_f, y_v, infrared)]
    gradient = sum(jnp.abs(f - jnp.maximum(v, i)).mean() for f, v, i in zip(*slopes, strict=True))
    target = (jnp.maximum(y_v, infrared) + jnp.clip(local_contrast_selection(y_v, infrared), 0, 1)) / 2
    bytes_f, bytes_v, bytes_i = (255 * y for y in (y_f, y_v, infrared))
    return {
        "intensity": jnp.abs(y_f - target).mean(),
        "gradient": gradient,
        "similarity": 2 - ssim(y_f, y_v).mean() - ssim(y_f, infrared).mean(),
        "colour": 2 * jnp.abs(fused[..., 1:] - visible[..., 1:]).mean(),
        "information": 2 - vif(bytes_f, bytes_i, bytes_v).mean(),
        "edges": 1 - qabf(bytes_f, bytes_i, bytes_v).mean(),
        "differences": jax.nn.relu(ENOUGH - sum_of_correlations_of_differences(bytes_f, bytes_i, bytes_v)).mean(),
        "mutual": 4 - sum(soft_mutual_information(bytes_f, source).mean() for source in (bytes_i, bytes_v)),
        "lightness": lightness,
        "heat": heat_lost(y_f, y_v, infrared).mean(),
        "entropy": 8 - soft_entropy(bytes_f).mean(),
        "overshoot": (overshoot(y_f, infrared, y_v) + jax.nn.relu(jnp.abs(y_f - 0.5) - NOT_CLIPPED)).mean(),
    }
