"""Watching SSVIF's heads: do they use their clusters, agree, see more than brightness, or have they collapsed?"""

from collections.abc import Callable, Mapping

import jax
import numpy as np
from absl import logging
from jaxtyping import Float, Int, UInt8
from optax.assignment import hungarian_algorithm

from lure_jax.data.judged import UNKNOWN, at_stride
from lure_jax.data.pipeline import three_channels
from lure_jax.evaluation import batches
from lure_jax.metrics.color import luma
from lure_jax.models.segmentation import STRIDE

BINS = 8  # of luma, the segmentation that knows brightness alone
USED = 0.005  # share of the pixels from which a cluster counts as used
SHOWN = 4
ASSIGNED = 32  # tables of assignments are padded to a multiple of it
HEADS = ("feature", "pixel")

_assign = jax.jit(hungarian_algorithm)

Segments = Int[np.ndarray, "B h w"]
Probabilities = Float[np.ndarray, "B h w K"]


def build_predict(model, heads) -> Callable:
    """(params, visible, infrared, visible_ids, infrared_ids) -> fused image, probabilities of H, those of G."""

    @jax.jit
    def predict(params, visible, infrared, visible_ids, infrared_ids):
        def run(model):
            return model(visible, infrared, model.tokens(visible_ids), model.tokens(infrared_ids))

        fused = model.apply({"params": params}, method=run)
        logits = heads.apply({"params": params}, fused.features, fused.image)
        return fused.image, *(jax.nn.softmax(x) for x in logits)

    return predict


def build_monitor(model, heads) -> Callable:
    """(params, samples, step) -> (scalars, pictures); warns loudly if the heads have collapsed.

    `samples` are `evaluation.training.fusion_samples`; their clean images are fused.
    """
    predict = build_predict(model, heads)

    def monitor(params, samples, step):
        inputs = [samples[key] for key in ("visible", "infrared", "visible_clean", "infrared_clean")]
        predicted = predict(params, *batches.scatter(batches.mesh_of(params), *inputs))
        image, *probabilities = batches.gather(predicted, len(inputs[0]))
        scores = judge(probabilities, image, samples["labels"])
        if why := collapse(scores):
            logging.warning("%s\nSSVIF HAS COLLAPSED at step %d: %s\n%s", "!" * 80, step, why, "!" * 80)
        segments = [p.argmax(-1) for p in probabilities]
        picture = sheet(samples, image, segments, heads.clusters)
        return {f"segments/{name}": value for name, value in scores.items()}, {"segments": picture}

    return monitor


def judge(
    probabilities: list[Probabilities], image: Float[np.ndarray, "B H W 3"], labels: Int[np.ndarray, "B H W"]
) -> dict[str, float]:
    """What the monitor logs.

    Args:
      probabilities: of H and of G.
      image: the fused image, for the luma bins.
      labels: 255 where there is none.

    Returns:
      Of each head clusters used, H(mean p) / log K, NMI with the luma bins and, where there are labels, Hungarian
      mIoU; the agreement of both; Hungarian mIoU of the luma bins; `collapsed` 1 or 0.
    """
    segments, bins, labels = [p.argmax(-1) for p in probabilities], luma_bins(image), at_stride(labels)
    scores = {"agreement": float(np.mean(segments[0] == segments[1]))}
    for name, p, found in zip(HEADS, probabilities, segments, strict=True):
        scores[f"clusters_{name}"] = float(clusters_used(found, p.shape[-1]))
        scores[f"entropy_{name}"] = entropy_ratio(p)
        scores[f"nmi_luma_{name}"] = mutual_information(found, bins)
        if (labels != UNKNOWN).any():
            scores[f"miou_{name}"] = hungarian_miou(found, labels)
    if (labels != UNKNOWN).any():
        scores["miou_luma_bins"] = hungarian_miou(bins, labels)
    return scores | {"collapsed": float(bool(collapse(scores)))}


def collapse(scores: Mapping[str, float]) -> str:
    """What is wrong, in words, or "": agreement above .98 with fewer than 3 clusters, or an entropy ratio below .4."""
    fewest = min(scores[f"clusters_{name}"] for name in HEADS)
    lowest = min(scores[f"entropy_{name}"] for name in HEADS)
    if scores["agreement"] > 0.98 and fewest < 3:
        return f"the heads agree on {scores['agreement']:.1%} of the pixels and use {fewest:.0f} cluster(s)."
    if lowest < 0.4:
        return f"the entropy of the mean answer is {lowest:.2f} of its maximum."
    return ""


def luma_bins(image: Float[np.ndarray, "B H W 3"]) -> Segments:
    """Eight equal bins of the luma at stride 4."""
    y = np.asarray(luma(image))
    y = np.pad(y, [(0, 0), *((0, -side % STRIDE) for side in y.shape[1:])], mode="edge")
    batch, height, width = y.shape
    y = y.reshape(batch, height // STRIDE, STRIDE, width // STRIDE, STRIDE).mean((2, 4))
    return np.clip((BINS * y).astype(int), 0, BINS - 1)


def clusters_used(segments: Segments, clusters: int) -> int:
    """Clusters that more than half a percent of the pixels belong to."""
    return int((np.bincount(segments.ravel(), minlength=clusters) > USED * segments.size).sum())


def entropy_ratio(probabilities: Probabilities) -> float:
    """H(mean p) / log K in [0,1]."""
    mean = probabilities.mean((0, 1, 2), dtype=np.float64)
    return float(_entropy(mean / mean.sum()) / np.log(mean.size))


def mutual_information(one: Segments, other: Segments) -> float:
    """Normalised mutual information 2 I / (H1 + H2) in [0,1]; 0 if both are constant."""
    table = contingency(one, other).astype(float) / one.size
    own, others = _entropy(table.sum(1)), _entropy(table.sum(0))
    return float(2 * (own + others - _entropy(table)) / (own + others)) if own + others else 0.0


def hungarian_miou(segments: Segments, labels: Segments) -> float:
    """Mean IoU over the classes that occur, each class with the one segment that the best assignment gives it.

    A segment belongs to one class at most; the assignment maximises the sum of the IoUs.
    """
    known = labels != UNKNOWN
    table = contingency(segments[known], labels[known]).astype(float)
    table = table[:, table.sum(0) > 0]
    union = table.sum(1, keepdims=True) + table.sum(0, keepdims=True) - table
    iou = table / union
    size = -max(iou.shape) % ASSIGNED + max(iou.shape)  # one shape, one compilation
    cost = np.zeros((size, size), np.float32)
    cost[: iou.shape[0], : iou.shape[1]] = -iou
    return float(-cost[tuple(np.asarray(x) for x in _assign(cost))].sum() / iou.shape[1])


def contingency(one: Int[np.ndarray, "..."], other: Int[np.ndarray, "..."]) -> Int[np.ndarray, "n m"]:
    """How many pixels have value i in one and j in the other; rows of values that do not occur are left out."""
    (_, one), (_, other) = (np.unique(x.ravel(), return_inverse=True) for x in (one, other))
    size = one.max() + 1, other.max() + 1
    return np.bincount(one * size[1] + other, minlength=size[0] * size[1]).reshape(size)


def _entropy(p: Float[np.ndarray, "..."]) -> float:
    p = p[p > 0]
    return float(-np.sum(p * np.log(p)))


def palette(clusters: int) -> UInt8[np.ndarray, "K 3"]:
    """Colours far apart: hues by the golden ratio at three brightnesses."""
    k = np.arange(clusters)
    phase = 6 * ((k * 0.618034) % 1)[:, None] + np.array([0, 4, 2])
    hue = np.clip(np.abs(phase % 6 - 3) - 1, 0, 1)
    value = np.array([1.0, 0.7, 0.45])[k % 3]
    return np.round(255 * value[:, None] * (0.25 + 0.75 * hue)).astype(np.uint8)


def sheet(samples, image: Float[np.ndarray, "B H W 3"], segments: list[Segments], clusters: int) -> np.ndarray:
    """Rows of pairs: visible, infrared, fused, segments of H, segments of G, and labels if any. uint8 (H,W,3)."""
    colours, (height, width) = palette(clusters), image.shape[1:3]
    columns = [np.round(255 * np.clip(x, 0, 1)).astype(np.uint8) for x in
               (samples["visible"], three_channels(samples["infrared"]), image)]  # fmt: skip
    columns += [colours[s].repeat(STRIDE, 1).repeat(STRIDE, 2)[:, :height, :width] for s in segments]
    if (samples["labels"] != UNKNOWN).any():
        columns.append(np.concatenate([palette(UNKNOWN), np.zeros((1, 3), np.uint8)])[samples["labels"]])
    order = np.linspace(0, len(image) - 1, min(SHOWN, len(image))).astype(int)
    return np.concatenate([np.concatenate([column[i] for column in columns], 1) for i in order])
