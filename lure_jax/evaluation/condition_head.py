"""How well the condition head tells what is wrong with an image, and the thresholds that make it tell best."""

import itertools
import json
import pathlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Bool, Float

from lure_jax.data.degradations import compatible
from lure_jax.evaluation.real_images import ANY_HOUR, DEGRADED, clean_images, degraded_pairs, spread
from lure_jax.evaluation.restoration import (
    Pair,
    Restore,
    centre,
    condition_ids_of,
    psnr_under,
    synthetic_pairs,
)
from lure_jax.inference.prompt import conditions_of
from lure_jax.inference.weights import CONFIG
from lure_jax.text.conditions import CONDITIONS, MODALITIES

Detect = Callable[[np.ndarray, str], Mapping[str, float]]  # image, modality -> condition name -> probability
# Acting on them where they are not there ruins the image
DESTRUCTIVE = ("visible/low_light", "visible/over_exposure", "visible/haze", "infrared/low_contrast")
EXPOSURE = ("low_light", "over_exposure")
CROP = 256
REAL = ("PolyU", "LOL")  # sets of photographs whose trouble is real
REFUSAL = 1000.0  # misses that one false alarm of those on a photograph weighs
# Thresholds stay between: other cameras' images are not among those calibrated on, and a few say nothing about the tail
LIKELY, HIGHEST = 0.5, 0.99
NAMES = tuple("/".join(condition) for condition in CONDITIONS)


class Judged(NamedTuple):
    """Images of one modality and kind, what the head says of them and what is true.

    Attributes:
      kind: "visible/noise", "visible/clean", "visible/compound", "visible/real noise"; kinds weigh the same.
      probability: of each of the 13 conditions, 0 for those of the other modality and "clean".
      truth: whether the condition is there.
    """

    kind: str
    probability: Float[np.ndarray, "N 13"]
    truth: Bool[np.ndarray, "N 13"]


def judge(
    detect: Detect, images: Sequence[np.ndarray], modality: str, kind: str, present: Sequence[Sequence[int]]
) -> Judged:
    """Asks the head about images.

    Args:
      detect: `Fuser.detect`.
      images: of one modality.
      modality: "visible" or "infrared".
      kind: see `Judged`.
      present: the condition ids of each image; empty, or the id of "clean", for a clean one.
    """
    probability = np.zeros((len(images), len(CONDITIONS)), np.float32)
    truth = np.zeros((len(images), len(CONDITIONS)), bool)
    for row, (image, ids) in enumerate(zip(images, present, strict=True)):
        for name, value in detect(image, modality).items():
            probability[row, NAMES.index(f"{modality}/{name}")] = value
        truth[row, [index for index in ids if CONDITIONS[index].name != "clean"]] = True
    return Judged(kind, probability, truth)


def judge_split(detect: Detect, data: pathlib.Path, split: str, limit: int | None, seed: int) -> list[Judged]:
    """Asks the head about everything a split has to show.

    Kinds: each condition synthesised on the middle of clean images ("visible/noise"), two at once
    ("visible/compound"), whole clean images ("visible/clean"), and photographs with real noise and taken in real low
    light ("visible/real noise", "visible/real low_light") where the split has any.

    Args:
      detect: `Fuser.detect`.
      data: the folder of real images.
      split: of it.
      limit: images of a folder.
      seed: of the degradations.
    """
    groups = []
    for modality in MODALITIES:
        ids = condition_ids_of(modality)
        clean = clean_images(data, split, modality, limit)
        whole = [image for folder in clean.values() for image in folder.values()]
        groups.append(judge(detect, whole, modality, f"{modality}/clean", [()] * len(whole)))
        crops = {f: [centre(i, CROP) for i in images.values()] for f, images in clean.items()}
        any_hour = [image for images in crops.values() for image in images]
        daylight = [image for folder, images in crops.items() if folder != ANY_HOUR for image in images]
        for name, index in ids.items():
            if name == "clean":
                continue
            images = [p.degraded for p in synthetic_pairs(daylight if name in EXPOSURE else any_hour, [index], seed)]
            groups.append(judge(detect, images, modality, f"{modality}/{name}", [[index]] * len(images)))
        couples = [c for c in itertools.combinations(sorted(set(ids.values()) - {ids["clean"]}), 2) if compatible(*c)]
        present = [couples[i % len(couples)] for i in range(len(daylight or any_hour))]
        images = [
            synthetic_pairs([image], couple, seed + i)[0].degraded
            for i, (image, couple) in enumerate(zip(daylight or any_hour, present, strict=True))
        ]
        groups.append(judge(detect, images, modality, f"{modality}/compound", present))
    for name in REAL:
        condition = DEGRADED[name].condition
        images = [degraded for degraded, _ in degraded_pairs(data, split, name, limit)]
        present = [[condition_ids_of("visible")[condition]]] * len(images)
        groups.append(judge(detect, images, "visible", f"visible/real {condition}", present))
    return [group for group in groups if len(group.truth)]


def exact(judged: Judged, thresholds: Float[np.ndarray, "13"]) -> float:
    """Share of images of which exactly the true conditions lie above their thresholds."""
    return float(((judged.probability > thresholds) == judged.truth).all(1).mean())


def found(judged: Judged, thresholds: Float[np.ndarray, "13"], condition: str) -> Bool[np.ndarray, "N"]:
    """Which of the images are said to have a condition ("visible/noise"), whatever else is said of them."""
    column = NAMES.index(condition)
    return judged.probability[:, column] > thresholds[column]


def micro_f1(judged: Judged, thresholds: Float[np.ndarray, "13"]) -> float:
    """F1 = 2 TP / (2 TP + FP + FN) over all images and conditions together; 1 if there is nothing to find."""
    said, true = judged.probability > thresholds, judged.truth
    hits, wrong = (said & true).sum(), (said ^ true).sum()
    return float(2 * hits / (2 * hits + wrong)) if hits + wrong else 1.0


def label_accuracy(judged: Judged, thresholds: Float[np.ndarray, "13"]) -> float:
    """Share of right answers to "is it there?", over the images and the conditions of their modality."""
    own = conditions_of(judged.kind.split("/")[0])
    return float(((judged.probability > thresholds) == judged.truth)[:, own].mean())


def summary(groups: Sequence[Judged], thresholds: Float[np.ndarray, "13"]) -> list[dict[str, object]]:
    """One row a kind: share judged exactly right; F1 of compounds; share of real trouble found; false low light."""
    rows = []
    for group in groups:
        modality, kind = group.kind.split("/")
        row = {"images": group.kind, "n": len(group.truth), "exact": exact(group, thresholds)}
        if kind == "compound":
            row["F1"] = micro_f1(group, thresholds)
        if kind.startswith("real "):
            row["found"] = float(found(group, thresholds, f"{modality}/{kind[5:]}").mean())
        if group.kind == "visible/clean":
            row["called low_light"] = int(found(group, thresholds, "visible/low_light").sum())
        rows.append(row)
    return rows


def stakes(restore: Restore, data: pathlib.Path, split: str, limit: int, seed: int) -> dict[str, float]:
    """The probability of each condition above which acting on it pays: L / (L + G), as decision theory has it.

    G is what the right prompt gains over "clean" on images degraded by the condition, L what it costs on the same
    images undegraded, both means in dB of PSNR. Not of blur: what it costs on sharp images says nothing of soft ones,
    and sharp ones are not taken for blurred.

    Args:
      restore: `Fuser.restore`.
      data: the folder of real images.
      split: of it.
      limit: images of a condition, their middle.
      seed: of the degradations.

    Returns:
      "visible/noise" -> probability, `HIGHEST` where the right prompt gains nothing; of conditions the split has
      images for.
    """
    pays = {}
    for modality in MODALITIES:
        clean, ids = clean_images(data, split, modality, None), condition_ids_of(modality)
        for name, index in ids.items():
            if name in ("clean", "blur") or not (images := middles(clean, name, limit)):
                continue
            gain, saved = (
                psnr_under(restore, pairs, modality, index) - psnr_under(restore, pairs, modality, ids["clean"])
                for pairs in (synthetic_pairs(images, [index], seed), [Pair(image, image) for image in images])
            )
            cost = max(-saved, 0.0)
            pays[f"{modality}/{name}"] = cost / (gain + cost) if gain > 0 else HIGHEST
    return pays


def middles(clean: Mapping[str, Mapping[str, np.ndarray]], condition: str, limit: int) -> list[np.ndarray]:
    """The middle of at most `limit` clean images (folder -> stem -> image) on which a condition may be synthesised."""
    folders = [folder for folder in clean if folder != ANY_HOUR or condition not in EXPOSURE]
    return spread([centre(image, CROP) for folder in folders for image in clean[folder].values()], limit)


def calibrate(groups: Sequence[Judged], least: Mapping[str, float]) -> dict[str, float]:
    """Chooses each condition's threshold on validation images.

    The threshold with the fewest errors, misses and false alarms, where every kind of images weighs the same, and a
    false alarm of a `DESTRUCTIVE` condition on a photograph as it was taken, clean or with other trouble, weighs as
    much as `REFUSAL` of any others. Of all thresholds equally good, the middle one in log-odds; none below `LIKELY`.

    Args:
      groups: of the validation split, both modalities.
      least: thresholds that must be reached, as `stakes` gives them.

    Returns:
      Condition ("visible/noise") -> threshold, for the conditions the groups have examples of.
    """
    thresholds = {}
    for column, name in enumerate(NAMES):
        own = [group for group in groups if group.kind.split("/")[0] == name.split("/")[0]]
        if not any(group.truth[:, column].any() for group in own):
            continue
        odds, truth, weight = [], [], []
        for group in own:
            p = np.clip(group.probability[:, column].astype(np.float64), 1e-7, 1 - 1e-7)
            photographs = ~group.truth.any(1) | group.kind.split("/")[1].startswith("real ")
            spared = photographs & ~group.truth[:, column] & (name in DESTRUCTIVE)
            odds.append(np.log(p / (1 - p)))
            truth.append(group.truth[:, column])
            weight.append(np.where(spared, REFUSAL, 1) / len(p))
        threshold = _fewest_errors(*map(np.concatenate, (odds, truth, weight)))
        lowest = min(max(LIKELY, least.get(name, 0)), HIGHEST)
        thresholds[name] = float(np.clip(1 / (1 + np.exp(-threshold)), lowest, HIGHEST).round(4))
    return thresholds


def write_thresholds(folder: epath.PathLike, thresholds: Mapping[str, float]) -> None:
    """Puts thresholds into a released model's description; those not given stay."""
    path = epath.Path(folder) / CONFIG
    config = json.loads(path.read_text())
    config["thresholds"] |= thresholds
    draft = path.parent / f".{path.name}-{uuid.uuid4().hex[:8]}"
    draft.write_text(json.dumps(config, indent=2) + "\n")
    draft.replace(path)


def _fewest_errors(odds: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    """The middle of the widest interval of thresholds with the least weighted error; above it means present."""
    order = np.argsort(odds)
    odds, truth, weight = odds[order], truth[order], weight[order]
    # Below everything, all are said to be present; each value passed turns one more into absent.
    errors = np.concatenate([[weight[~truth].sum()], np.where(truth, weight, -weight)]).cumsum()
    edges = np.concatenate([[odds[0] - 2], odds, [odds[-1] + 2]])
    widths = np.diff(edges)
    best = np.flatnonzero((errors <= errors[widths > 0].min() + 1e-9) & (widths > 0))
    chosen = best[widths[best].argmax()]
    return float((edges[chosen] + edges[chosen + 1]) / 2)
