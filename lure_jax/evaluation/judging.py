"""Downstream protocols: one small network, trained alike on each method's fused images, shows what they are worth."""

import functools
from collections.abc import Callable, Mapping

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from lure_jax.data import catalog, pipeline
from lure_jax.data.judged import UNKNOWN, JudgedSample
from lure_jax.data.sources import Endless
from lure_jax.evaluation import average_precision, methods
from lure_jax.evaluation.average_precision import Found, Truth
from lure_jax.evaluation.folders import Sources
from lure_jax.models.detection import find_boxes
from lure_jax.text.conditions import MODALITIES

SPLIT = "test"  # nothing is chosen by it: the networks are small and all steps are fixed


class Fused:
    """A split of registered pairs as one method fuses them, with labels or boxes; all in memory.

    Args:
      dataset: a built data set of pairs with labels or boxes.
      data_dir: folder of built data sets.
      split: of it.
      method: "visible" or "infrared" (that source alone), a baseline, a model's name or folder.
      truth: "labels" or "boxes".

    Raises:
      DataError, MethodError: the data set or the method cannot be used.
    """

    def __init__(self, dataset: str, data_dir: str, split: str, method: str, truth: str):
        source = catalog.open_split(dataset, data_dir, split)
        records = [source[i] for i in range(len(source))]
        if records and truth not in records[0]:
            raise catalog.DataError(f"Data set {dataset!r} has no {truth}: it cannot judge fused images.")
        fuse = _reader(method, {record["visible"].shape[:2] for record in records})
        self._elements = [{"image": fuse(record)} | _truth(record, truth) for record in records]

    def __len__(self) -> int:
        return len(self._elements)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._elements[index]


def _reader(method: str, sizes: set[tuple[int, int]]) -> Callable[[Mapping], np.ndarray]:
    if method in MODALITIES:
        return lambda record: np.ascontiguousarray(np.broadcast_to(record[method], (*record[method].shape[:2], 3)))
    (chosen,) = methods.read_methods([method], sorted(sizes))
    return lambda record: chosen.fuse("", Sources(record["visible"], record["infrared"][..., 0]))


def _truth(record: Mapping, truth: str) -> dict[str, np.ndarray]:
    if truth == "labels":
        return {"labels": record["labels"][..., 0]}
    height, width = record["visible"].shape[:2]
    boxes = np.asarray(record["boxes"]["bbox"], np.float32).reshape(-1, 4)
    return {
        "boxes": boxes * np.float32([height, width, height, width]),
        "box_labels": np.asarray(record["boxes"]["label"], np.int64).reshape(-1),
    }


@functools.lru_cache(maxsize=4)
def fused(dataset: str, data_dir: str, split: str, method: str, truth: str) -> Fused:
    """`Fused`, each fused once in a process."""
    return Fused(dataset, data_dir, split, method, truth)


def _fused(config, split: str) -> Fused:
    (row,) = config.data.judged
    return fused(row.dataset, str(config.data.data_dir), split, row.method, row.truth)


def make_iterator(config, stage, *, seed: int, **place) -> grain.DatasetIterator:
    """As `pipeline.make_iterator`, for the pool "judged" too: crops of fused images."""
    if stage.pool != "judged":
        return pipeline.make_iterator(config, stage, seed=seed, **place)
    dataset = grain.MapDataset.source(Endless(_fused(config, "train"), seed)).seed(seed)
    pool = [(dataset.random_map(JudgedSample(stage.crop, config.model.classes)), 1.0)]
    return pipeline.batches(pool, config.data.workers, stage.batch, seed, **place)


def build_evaluator(config, model) -> Callable:
    """(params, step, stage) -> (scalars, no pictures) over the test split, for a segmenter or a detector."""
    source = _fused(config, SPLIT)
    (row,) = config.data.judged
    judge = segmentation_scores if row.truth == "labels" else detection_scores
    predict = jax.jit(lambda params, image: model.apply({"params": params}, image[None] / jnp.float32(255)))

    def evaluate(params, step, stage):
        del step, stage
        return judge(lambda image: predict(params, image), source, row), {}

    return evaluate


def segmentation_scores(predict: Callable, source: Fused, row) -> dict[str, float]:
    """Mean IoU and mean accuracy over the classes that occur, at the image's own resolution.

    Args:
      predict: image (H,W,3) uint8 -> logits (1,h,w,K).
      source: whose images and labels.
      row: of the config; `classes` names them.
    """
    table = np.zeros((len(row.classes), len(row.classes)), np.int64)
    for i in range(len(source)):
        element = source[i]
        table += confusion(_labels(predict(element["image"]), element["labels"].shape), element["labels"], len(table))
    right, there, said = np.diag(table), table.sum(0), table.sum(1)
    occurs = there > 0
    iou = right[occurs] / (there + said - right)[occurs]
    named = {f"IoU/{name}": value for name, value in zip(np.array(row.classes)[occurs], iou, strict=True)}
    return {"mIoU": float(iou.mean()), "mAcc": float((right[occurs] / there[occurs]).mean())} | named


def _labels(logits: jax.Array, size: tuple[int, int]) -> Int[np.ndarray, "H W"]:
    return np.asarray(_argmax(logits[0], size))


@functools.partial(jax.jit, static_argnums=1)
def _argmax(logits, size):
    return jax.image.resize(logits, (*size, logits.shape[-1]), "linear").argmax(-1)


def confusion(said: Int[np.ndarray, "H W"], labels: Int[np.ndarray, "H W"], classes: int) -> Int[np.ndarray, "K K"]:
    """Pixels by what was said (row) and what is there (column); unknown labels don't count."""
    known = labels != UNKNOWN
    index = said[known].astype(np.int64) * classes + labels[known]
    return np.bincount(index, minlength=classes**2).reshape(classes, classes)


def detection_scores(predict: Callable, source: Fused, row) -> dict[str, float]:
    """AP50 and AP50:95 of each class and their means, with the ends of bootstrap intervals over the images."""
    matches = {name: [] for name in row.classes}
    for i in range(len(source)):
        element = source[i]
        found, truth = detect(predict, element["image"]), Truth(element["boxes"], element["box_labels"])
        for label, name in enumerate(row.classes):
            matches[name].append(average_precision.match(found, truth, label))
    scores, ends = average_precision.scores(matches), average_precision.interval(matches)
    for kind in ("AP50", "AP50:95"):
        scores |= {f"{kind}/low": ends[kind][0], f"{kind}/high": ends[kind][1]}
    return scores


def detect(predict: Callable, image: Float[np.ndarray, "H W 3"]) -> Found:
    """The boxes that a detector finds in an image, cut at its edges."""
    boxes = find_boxes(predict(image))
    height, width = image.shape[:2]
    box = np.clip(np.asarray(boxes.box[0]), 0, [height, width, height, width])
    return Found(box, np.asarray(boxes.score[0]), np.asarray(boxes.label[0]))
