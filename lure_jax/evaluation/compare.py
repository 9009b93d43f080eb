"""Methods compared on folders: their scores pair by pair, the table with ranks and vetoes, and what a report shows."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np

from lure_jax.evaluation import fusion as protocol
from lure_jax.evaluation.baselines import BASELINES
from lure_jax.evaluation.folders import Sources, matched, over_batches, over_pairs, sizes
from lure_jax.evaluation.fusion import Scores
from lure_jax.evaluation.methods import Folder, Method, Rule, folder_files, judged, read_methods
from lure_jax.evaluation.real_images import spread
from lure_jax.evaluation.restoration import Image
from lure_jax.metrics.color import rgb_to_ycbcr

LIMITED = Rule("max", BASELINES["max"])  # whose colour and overshoot are the measure of the vetoes
CHROMA = "chroma shift"
CHROMA_MARGIN = 2.0  # levels of 255; what fades or tints an image is several times that
COLUMNS = (*protocol.RANKED, *protocol.SHOWN, *protocol.EXTRA, CHROMA)
DIGITS = dict.fromkeys((*COLUMNS, "MI2", "SSIMc", "MSSSIM", "CC"), 3)


class Comparison(NamedTuple):
    """Everything measured.

    Attributes:
      scores: method -> stem -> scores; every method has the same stems, those of `failures` left out.
      limits: stem -> scores of pixel max, which the vetoes are measured by.
      pictures: stem -> name -> image, of some pairs: "visible", "infrared" and every method.
      failures: one sentence for each pair that some method could not be judged by.
    """

    scores: dict[str, dict[str, Scores]]
    limits: dict[str, Scores]
    pictures: dict[str, dict[str, Image]]
    failures: list[str]

    @property
    def means(self) -> dict[str, Scores]:
        """Each method's mean scores over the pairs."""
        return {method: protocol.mean_scores(images.values()) for method, images in self.scores.items()}


def evaluate(
    fused: os.PathLike, visible: os.PathLike, infrared: os.PathLike, tell: Callable[[str], None] = print
) -> tuple[dict[str, Scores], list[str]]:
    """Scores of a folder of fused images.

    Args:
      fused: folder, its images matched with the sources by stem; the sources may be more.
      visible: folder.
      infrared: folder.
      tell: called with a sentence when there are more sources.

    Returns:
      Stem -> scores as in `fusion.fusion_scores`, and one sentence for each image without.

    Raises:
      JobError: folders that cannot be used, before any work.
    """
    pairs = matched({"visible": visible, "infrared": infrared})
    method = Folder("fused", folder_files("fused", fused))
    files = _judged(pairs, [method], tell)
    return over_batches(
        files, lambda stem, sources: (method.fuse(stem, sources), sources), all_scores, jax.device_count()
    )


def compare(
    visible: os.PathLike,
    infrared: os.PathLike,
    methods: Sequence[str],
    *,
    pictures: int = 0,
    tell: Callable[[str], None] = print,
) -> Comparison:
    """Scores of several methods on the same pairs.

    Args:
      visible: folder.
      infrared: folder, matched by stem.
      methods: as `methods.read_methods` takes them.
      pictures: keep the images of so many pairs, spread evenly.
      tell: called with a sentence when fused images exist for some of the pairs only.

    Raises:
      JobError, MethodError, WeightsError: before any work.
    """
    pairs = matched({"visible": visible, "infrared": infrared})
    ready = read_methods(methods, sizes(pairs))
    files = _judged(pairs, ready, tell)
    shown = set(spread(list(files), pictures))

    def judge(stem: str, sources: Sources) -> tuple[dict[str, Scores], Scores, dict[str, Image]]:
        images = {method.name: method.fuse(stem, sources) for method in ready}
        fused = [*images.values(), LIMITED.fuse(stem, sources)]
        *found, limits = all_scores([(image, sources) for image in fused])
        scores = dict(zip(images, found, strict=True))
        return scores, limits, sources._asdict() | images if stem in shown else {}

    results, failures = over_pairs(files, judge)
    return Comparison(
        {method.name: {stem: scores[method.name] for stem, (scores, _, _) in results.items()} for method in ready},
        {stem: limits for stem, (_, limits, _) in results.items()},
        {stem: kept for stem, (_, _, kept) in results.items() if kept},
        failures,
    )


def all_scores(fused: Sequence[tuple[Image, Sources]]) -> list[Scores]:
    """`fusion.fusion_scores` of fused pairs, spread over the devices, and the "chroma shift" of each.

    That is the mean distance of fused and visible pixels in the plane of Cb and Cr, in levels of 255. Lightness, which
    fusion has to change and CIEDE2000 counts, is no part of it.
    """
    scores = protocol.scores_of([(image, *sources) for image, sources in fused])
    return [one | {CHROMA: chroma_shift(*pair)} for one, pair in zip(scores, fused, strict=True)]


def chroma_shift(fused: Image, sources: Sources) -> float:
    """See `all_scores`."""
    chroma = [np.asarray(rgb_to_ycbcr(image.astype(np.float32)))[..., 1:] for image in (fused, sources.visible)]
    return float(np.sqrt(np.square(chroma[0] - chroma[1]).sum(-1)).mean())


def _judged(pairs, methods: Iterable[Method], tell):
    files = judged(pairs, methods)
    if len(files) < len(pairs):
        tell(f"{len(files)} of {len(pairs)} pairs are judged: those that there are fused images of.")
    return files


class Row(NamedTuple):
    """A method's line in the table.

    Attributes:
      method: its name.
      rank: mean over the metrics of `fusion.RANKED` of its rank among the methods; smaller is better.
      means: its mean scores.
      vetoes: those that it does not meet.
      best: columns of `fusion.RANKED` in which no method has more, and "mean rank" if none has less.
    """

    method: str
    rank: float
    means: Scores
    vetoes: list[protocol.Veto]
    best: set[str]


def table(comparison: Comparison) -> list[Row]:
    """The methods, best mean rank first."""
    means, limits = comparison.means, protocol.mean_scores(comparison.limits.values())
    ranks = protocol.mean_ranks(means)
    most = {name: max(scores[name] for scores in means.values()) for name in protocol.RANKED}
    rows = []
    for method, scores in means.items():
        best = {name for name, value in most.items() if scores[name] == value}
        best |= {"mean rank"} if ranks[method] == min(ranks.values()) else set()
        broken = [veto for veto in vetoes(scores, limits) if not veto.met]
        rows.append(Row(method, ranks[method], scores, broken, best))
    return sorted(rows, key=lambda row: row.rank)


def vetoes(scores: Scores, limits: Scores) -> list[protocol.Veto]:
    """Clipping and overshoot as in `fusion.vetoes`, and the chroma shift: what shows whatever a method is meant for.

    Args:
      scores: mean scores of a method.
      limits: of pixel max on the same pairs.
    """
    most = limits[CHROMA] + CHROMA_MARGIN
    shared = [v for v in protocol.vetoes(scores, limits) if v.what in (protocol.CLIPPED, protocol.OVERSHOOT)]
    return [*shared, protocol.Veto(CHROMA, scores[CHROMA], most, scores[CHROMA] <= most)]


def readable(rows: Iterable[Row], bold: str = "**{}**") -> list[dict[str, Any]]:
    """The table as text: best in bold, vetoes by name.

    Args:
      rows: of `table`.
      bold: how the best is marked.
    """
    lines = []
    for row in rows:
        numbers = {"mean rank": f"{row.rank:.2f}", **{c: f"{row.means[c]:.{DIGITS[c]}f}" for c in COLUMNS}}
        numbers = {name: bold.format(text) if name in row.best else text for name, text in numbers.items()}
        lines.append({"method": row.method, **numbers, "vetoed by": ", ".join(veto.what for veto in row.vetoes)})
    return lines


def plain(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The table as numbers, with all metrics, for a CSV file."""
    return [
        {"method": row.method, "mean rank": row.rank, **row.means, "vetoed by": ", ".join(v.what for v in row.vetoes)}
        for row in rows
    ]


def per_image(scores: Mapping[str, Mapping[str, Scores]]) -> list[dict[str, Any]]:
    """A row for each method and image, in the columns of `peers.read_recorded`'s files but for the set."""
    return [
        {"method": method, "image": stem, **values}
        for method, images in scores.items()
        for stem, values in images.items()
    ]


def as_json(comparison: Comparison, rows: Iterable[Row]) -> dict[str, Any]:
    """All numbers: by method, by image, and what failed."""
    methods = {
        row.method: {"mean rank": row.rank, "means": row.means, "vetoes": [veto._asdict() for veto in row.vetoes]}
        for row in rows
    }
    return {
        "ranked by": list(protocol.RANKED),
        "methods": methods,
        "images": comparison.scores,
        "failures": comparison.failures,
    }


def places(images: Mapping[str, Image], side: int) -> list[tuple[int, int]]:
    """Where images of one scene differ most: once in brightness, and once, elsewhere, in detail.

    Args:
      images: name -> (H,W) or (H,W,3) uint8.
      side: of the squares looked for, in pixels; at most H and W.

    Returns:
      (top, left) of the square with the largest standard deviation of luma over the images, averaged over the square;
      and of the one with the largest of luma minus its mean over side / 2 pixels, if there is room beside the first.
    """
    lumas = [np.float32(image @ (0.299, 0.587, 0.114) if image.ndim == 3 else image) for image in images.values()]
    details = [luma - cv2.blur(luma, (side // 2, side // 2)) for luma in lumas]
    found: list[tuple[int, int]] = []
    for stack in (lumas, details):
        sums = np.pad(np.std(stack, 0, dtype=np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        squares = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        for top, left in found:
            squares[max(0, top - side + 1) : top + side, max(0, left - side + 1) : left + side] = -np.inf
        if np.isfinite(squares.max()):
            found.append(tuple(int(x) for x in np.unravel_index(squares.argmax(), squares.shape)))
    return found
