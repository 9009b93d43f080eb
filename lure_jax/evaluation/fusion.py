"""Fusion protocol: scores of fused pairs, mean ranks over methods, medians, and vetoes that no rank can outweigh."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, UInt8

from lure_jax.evaluation import batches
from lure_jax.evaluation.restoration import padded
from lure_jax.metrics.color import luma
from lure_jax.metrics.color_difference import delta_e
from lure_jax.metrics.fusion import FUSION_METRICS, evaluate_fused
from lure_jax.metrics.halos import overshoot
from lure_jax.metrics.masks import mean_over

Fuse = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (H,W,3), (H,W) uint8 -> (H,W,3) uint8
Triple = tuple[np.ndarray, np.ndarray, np.ndarray]  # fused (H,W,3), visible (H,W,3), infrared (H,W), uint8
Scores = dict[str, float]

RANKED = ("MI", "SCD", "VIF", "Qabf", "SSIM")  # refer to the sources
SHOWN = ("EN", "SD", "SF", "AG")  # do not: stretching and sharpening win them
COUNTED = ("EN", "SD", "SF", "AG", "SCD", "VIF", "Qabf", "SSIM")
CLIPPED, SOURCES_CLIPPED, COLOUR, OVERSHOOT = "clipped %", "sources clipped %", "CIEDE2000", "overshoot"
EXTRA = (CLIPPED, SOURCES_CLIPPED, COLOUR, OVERSHOOT)
CLIPPED_MARGIN, OVERSHOOT_MARGIN, LEAST_SSIM = 0.5, 0.5, 0.70  # percent of pixels, grey levels of 255, -


class Veto(NamedTuple):
    """One demand a fused image must meet whatever its rank."""

    what: str
    value: float
    limit: float
    met: bool


def fusion_scores(
    fused: UInt8[np.ndarray, "H W 3"], visible: UInt8[np.ndarray, "H W 3"], infrared: UInt8[np.ndarray, "H W"]
) -> Scores:
    """All metrics of one fused pair, on luma rounded to 8 bits as the field does, and what vetoes are decided by.

    Args:
      fused: 8-bit RGB, at least 176 x 176.
      visible: its visible source.
      infrared: its infrared source.

    Returns:
      The names of `FUSION_METRICS`, and: "clipped %", pixels of the fused luma at 0 or 255; "sources clipped %", where
      a source is; "CIEDE2000", mean colour difference to the visible image; "overshoot", by how many levels of 255
      the fused luma leaves the range of both sources within 7 x 7 pixels, on average.
    """
    return _scores([(fused, visible, infrared)], None)[0]


def scores_of(triples: Sequence[Triple]) -> list[Scores]:
    """`fusion_scores` of many fused pairs, of any sizes, as many at a time as there are devices."""
    mesh, number = batches.all_devices(), jax.device_count()
    return [s for start in range(0, len(triples), number) for s in _scores(triples[start : start + number], mesh)]


def _scores(triples: Sequence[Triple], mesh: Mesh | None) -> list[Scores]:
    """Of images that fit into the memory together; padding changes nothing."""
    shape = np.max([fused.shape[:2] for fused, _, _ in triples], 0)
    singles = [padded(*images, least=tuple(shape)) for images in triples]
    f, v, i = (np.concatenate(column) for column in zip(*(images for images, _ in singles), strict=True))
    lumas = [np.round(np.asarray(luma(f))), i, np.round(np.asarray(luma(v)))]
    mask = np.concatenate([mask for _, mask in singles])
    f, v, *lumas, mask = batches.scatter(mesh, f, v, *lumas, mask)
    scores = batches.gather(evaluate_fused(*lumas, mask) | _extra(f, v, *lumas, mask), len(triples))
    return [{name: float(values[n]) for name, values in scores.items()} for n in range(len(triples))]


@jax.jit
def _extra(fused_rgb, visible_rgb, fused, infrared, visible, mask):
    at_end = [(x <= 0) | (x >= 255) for x in (fused, infrared, visible)]
    return {
        CLIPPED: 100 * mean_over(at_end[0].astype(jnp.float32), mask),
        SOURCES_CLIPPED: 100 * mean_over((at_end[1] | at_end[2]).astype(jnp.float32), mask),
        COLOUR: delta_e(fused_rgb / 255, visible_rgb / 255, mask),
        OVERSHOOT: mean_over(overshoot(fused, infrared, visible, mask), mask),
    }


def mean_scores(scores: Iterable[Scores]) -> Scores:
    """The mean of each metric over images; metrics some image lacks are left out."""
    scores = list(scores)
    common = [name for name in scores[0] if all(name in one for one in scores)]
    return {name: float(np.mean([one[name] for one in scores])) for name in common}


def ranks(values: Sequence[float]) -> Float[np.ndarray, "N"]:
    """1 for the largest value; equal values share the mean of their ranks."""
    values = np.asarray(values, np.float64)
    larger = (values[None] > values[:, None]).sum(1)
    equal = (values[None] == values[:, None]).sum(1)
    return larger + (equal + 1) / 2


def mean_ranks(methods: Mapping[str, Scores], metrics: Sequence[str] = RANKED) -> dict[str, float]:
    """Each method's rank among all of them by each metric, averaged over the metrics; smaller is better."""
    for metric in metrics:
        assert FUSION_METRICS[metric].larger_is_better
    table = np.stack([ranks([scores[metric] for scores in methods.values()]) for metric in metrics])
    return dict(zip(methods, table.mean(0).tolist(), strict=True))


def overall_ranks(sets: Mapping[str, Mapping[str, Scores]]) -> dict[str, float]:
    """Mean over sets of `mean_ranks`, of the methods that every set has."""
    by_set = [mean_ranks(methods) for methods in sets.values()]
    return {name: float(np.mean([one[name] for one in by_set])) for name in by_set[0] if all(name in o for o in by_set)}


def at_median(scores: Scores, others: Mapping[str, Scores], metrics: Sequence[str] = COUNTED) -> dict[str, bool]:
    """By which metrics a method is at or above the median of other methods."""
    return {m: bool(scores[m] >= np.median([other[m] for other in others.values()])) for m in metrics}


def vetoes(scores: Scores, reference: Scores) -> list[Veto]:
    """What no rank can outweigh, of a method's mean scores over a set.

    Args:
      scores: of the method.
      reference: of pixel max on the same pairs. Its overshoot is 0 but for rounding, so half a grey level is allowed.
    """
    most = {
        CLIPPED: scores[SOURCES_CLIPPED] + CLIPPED_MARGIN,
        COLOUR: reference[COLOUR],
        OVERSHOOT: reference[OVERSHOOT] + OVERSHOOT_MARGIN,
    }
    least = Veto("SSIM", scores["SSIM"], LEAST_SSIM, scores["SSIM"] >= LEAST_SSIM)
    return [least, *(Veto(name, scores[name], limit, scores[name] <= limit) for name, limit in most.items())]
