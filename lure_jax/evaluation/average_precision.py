"""Average precision of detected boxes, as COCO defines it, with bootstrap intervals over the images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

THRESHOLDS = np.arange(0.5, 1.0, 0.05)
RECALLS = np.linspace(0, 1, 101)


class Found(NamedTuple):
    """Boxes of one image: ymin, xmin, ymax, xmax in pixels; score; class."""

    box: Float[np.ndarray, "N 4"]
    score: Float[np.ndarray, "N"]
    label: Int[np.ndarray, "N"]


class Truth(NamedTuple):
    """The boxes that are there."""

    box: Float[np.ndarray, "M 4"]
    label: Int[np.ndarray, "M"]


class Matches(NamedTuple):
    """One image and class: scores of its detections, whether each is right at each threshold, how many there are."""

    score: Float[np.ndarray, "N"]
    right: Bool[np.ndarray, "T N"]
    truths: int


def match(found: Found, truth: Truth, label: int) -> Matches:
    """Detections of one class, the surest first, each matched to the free truth it overlaps most, at each threshold."""
    of_class = found.label == label
    order = np.argsort(-found.score[of_class], kind="stable")
    boxes, truths = found.box[of_class][order], truth.box[truth.label == label]
    overlap = intersection_over_union(boxes, truths)
    right = np.zeros((len(THRESHOLDS), len(boxes)), bool)
    for t, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(truths), bool)
        for n in range(len(boxes)):
            candidates = np.where(free & (overlap[n] >= threshold), overlap[n], -1.0)
            if len(truths) and candidates.max() >= 0:
                free[candidates.argmax()] = False
                right[t, n] = True
    return Matches(found.score[of_class][order], right, len(truths))


def intersection_over_union(one: Float[np.ndarray, "N 4"], other: Float[np.ndarray, "M 4"]) -> Float[np.ndarray, "N M"]:
    """Of every box with every other."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), -1)
    area = [np.prod(box[:, 2:] - box[:, :2], -1) for box in (one, other)]
    return shared / np.maximum(area[0][:, None] + area[1][None] - shared, 1e-9)


def average_precision(matches: Sequence[Matches]) -> Float[np.ndarray, "T"]:
    """AP at each IoU threshold over images: mean over 101 recalls of the best precision at that recall or above.

    NaN where no image has a box of the class.
    """
    truths = sum(m.truths for m in matches)
    if not truths:
        return np.full(len(THRESHOLDS), np.nan)
    order = np.argsort(-np.concatenate([m.score for m in matches]), kind="stable")
    right = np.concatenate([m.right for m in matches], 1)[:, order]
    hits = np.cumsum(right, 1)
    precision = hits / np.arange(1, right.shape[1] + 1)
    best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], 1)
    at = [np.searchsorted(row / truths, RECALLS, side="left") for row in hits]
    return np.array([row[places].mean() for row, places in zip(best, at, strict=True)])


def scores(matches: dict[str, list[Matches]]) -> dict[str, float]:
    """AP50 and AP50:95 of each class, and their means over the classes that occur.

    Args:
      matches: class name -> one `Matches` an image.
    """
    found = {name: average_precision(images) for name, images in matches.items()}
    table = {f"AP50/{name}": float(ap[0]) for name, ap in found.items()}
    table |= {f"AP50:95/{name}": float(ap.mean()) for name, ap in found.items()}
    for kind in ("AP50", "AP50:95"):
        values = [table[f"{kind}/{name}"] for name in matches]
        table[kind] = float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
    return table


def interval(matches: dict[str, list[Matches]], draws: int = 200, seed: int = 0) -> dict[str, tuple[float, float]]:
    """The 2.5 and 97.5 percentiles of `scores` over bootstrap draws of the images."""
    rng = np.random.default_rng(seed)
    images = len(next(iter(matches.values())))
    tables = []
    for _ in range(draws):
        chosen = rng.integers(0, images, images)
        tables.append(scores({name: [each[i] for i in chosen] for name, each in matches.items()}))
    return {
        name: tuple(float(x) for x in np.nanpercentile([table[name] for table in tables], (2.5, 97.5)))
        for name in tables[0]
    }
