"""From data sets to batches: two pools, drawn uniformly over conditions, deterministic in (seed, sample index)."""

import dataclasses
import functools
from collections.abc import Collection
from typing import Any, NamedTuple

import grain
import grain.experimental
import numpy as np
from jaxtyping import Float

from lure_jax.data.degradations import DEGRADATIONS, STRENGTHS, compatible, degrade
from lure_jax.data.sources import Decoded, Endless
from lure_jax.data.strengths import Strengths, changed
from lure_jax.errors import UserError
from lure_jax.metrics.color import luma
from lure_jax.text.conditions import CONDITIONS, MODALITIES, clean_id, condition_id, multi_hot
from lure_jax.text.prompts import draw_prompts

WINDOW = 1024  # samples that are shuffled among themselves
SLOTS = 2  # prompts an image can carry in training
TONAL = ("low_light", "over_exposure", "haze", "low_contrast")
LEAST_CONTRAST = {"visible": 0.4, "infrared": 0.5}  # of `toned`; less in an infrared image is low contrast


Share = tuple[int, int]  # what a process reads of every batch: the (index)-th of (count) equal parts


def make_iterator(
    config,
    stage,
    *,
    seed: int,
    start: int = 0,
    share: Share = (0, 1),
) -> grain.DatasetIterator:
    """An endless iterator over a process's share of a stage's batches.

    The samples of a stage are one stream, whatever the number of processes and workers; a run continues anywhere.

    Args:
      config: the run's config; `data` names the pools' rows.
      stage: the stage's config: `pool` ("restoration" or "fusion"), `batch` (over all processes), `crop` (pixels); and
        perhaps `conditions`, of which every sample of the restoration pool then has one.
      seed: all randomness comes from it and the sample's index.
      start: samples of the stream that were taken before.
      share: of this process.

    Returns:
      Iterator of dicts of numpy arrays, each of the leading size batch / count of shares (keys: house.md, Batch).

    Raises:
      UserError: if the batch does not divide among the shares, or no row offers the stage's conditions.
    """
    if stage.pool == "restoration":
        pool = restoration_pool(config.data, stage.crop, seed, stage.get("conditions", None) or ())
    else:
        pool = fusion_pool(config.data, stage.crop, seed)
    return batches(pool, config.data.workers, stage.batch, seed, start, share)


def batches(
    pool: list[tuple[grain.MapDataset, float]],
    workers: int,
    batch: int,
    seed: int,
    start: int = 0,
    share: Share = (0, 1),
) -> grain.DatasetIterator:
    """A process's share of the batches of a pool.

    Args:
      pool: endless data sets of samples, and how much of the batches each makes up.
      workers: processes that make the samples; 0: this one.
      batch: over all processes.
      seed: of the order in which the data sets take turns.
      start, share: as in `make_iterator`.

    Raises:
      UserError: if the batch does not divide among the shares.
    """
    own, rest = divmod(batch, share[1])
    if rest:
        raise UserError(f"config.stages.*.batch={batch} does not divide among {share[1]} processes.")
    datasets, weights = zip(*pool, strict=True)
    mixed = grain.MapDataset.mix(datasets, weights) if len(datasets) > 1 else datasets[0]
    # `mix` takes the data sets in turn, so that neighbours in a batch would share their condition
    mixed = grain.experimental.WindowShuffleMapDataset(mixed, window_size=WINDOW, seed=seed)
    samples = SharedBatches(mixed, start, batch, share)
    samples = samples.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    if workers:
        samples = samples.mp_prefetch(grain.MultiprocessingOptions(workers, per_worker_buffer_size=4))
    return iter(samples.batch(own, drop_remainder=True))


class SharedBatches(grain.MapDataset):
    """The samples of a process's share of every batch, in order; together the shares are the batches of one process.

    Args:
      parent: endless samples.
      start: how many of them to leave out.
      batch: samples of a batch over all shares.
      share: of this process.
    """

    def __init__(self, parent: grain.MapDataset, start: int, batch: int, share: Share):
        super().__init__(parent)
        index, count = share
        self._own, self._batch = batch // count, batch
        self._start, self._skipped = start, start + index * self._own

    def __len__(self) -> int:
        return (len(self._parent) - self._start) // self._batch * self._own

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.slice(index)
        number, place = divmod(index, self._own)
        return self._parent[self._skipped + number * self._batch + place]


class Part(NamedTuple):
    """A share of a pool: the images of one row that get one condition first ("" of the fusion pool: none or any)."""

    row: Any
    condition: str
    weight: float


def restoration_parts(data, only: Collection[str] = ()) -> list[Part]:
    """Conditions of a modality weigh 1, or as `data.condition_weights` says; all weights sum to one.

    Args:
      data: `config.data`. Its `condition_weights`, if it has any, are modality -> condition -> weight; the rows that
        offer a condition share its weight as their own weights say.
      only: conditions that are to be drawn, in the proportions that they have among all; none for all.

    Raises:
      UserError: a weight of a condition that no row offers, or one that is not a number above 0; nothing is left.
    """
    weights = data.get("condition_weights", {})
    parts = []
    for modality, share in zip(MODALITIES, (1 - data.infrared_share, data.infrared_share), strict=True):
        rows = [row for row in data.restoration if row.modality == modality]
        offered = dict.fromkeys(sorted({name for row in rows for name in row.conditions}), 1.0)
        for name, weight in weights.get(modality, {}).items():
            place = f"config.data.condition_weights.{modality}.{name}"
            if name not in offered:
                raise UserError(f"{place} is a condition of no row; the rows offer {', '.join(offered) or 'none'}.")
            if not 0 < weight < np.inf:
                raise UserError(f"{place}={weight} must be a number above 0.")
            offered[name] = weight
        for name, weight in offered.items():
            offering = [row for row in rows if name in row.conditions]
            total = sum(row.weight for row in offering) * sum(offered.values())
            parts += [Part(row, name, share * weight * row.weight / total) for row in offering]
    if not only:
        return parts
    parts = [part for part in parts if part.condition in only]
    left = sum(part.weight for part in parts)
    if not left:
        raise UserError(f"config.stages.*.conditions={tuple(only)}: no row of config.data.restoration offers them.")
    return [part._replace(weight=part.weight / left) for part in parts]


def fusion_parts(data) -> list[Part]:
    """Rows weigh as they say; all weights sum to one."""
    total = sum(row.weight for row in data.fusion)
    return [Part(row, "", row.weight / total) for row in data.fusion]


def restoration_keys(row) -> tuple[str, ...]:
    """The images that a row of the restoration pool reads."""
    return ("degraded", "reference") if row.real else (row.image,)


def fusion_keys(row) -> tuple[str, ...]:
    """The images that a row of the fusion pool reads; labels if it says `labels=True`."""
    return (*MODALITIES, "labels") if row.get("labels", False) else MODALITIES


def restoration_pool(data, crop: int, seed: int, only: Collection[str] = ()) -> list[tuple[grain.MapDataset, float]]:
    """One endless data set for each condition and row that offers it, with its weight; as `restoration_parts`."""
    pool = []
    for row, name, weight in restoration_parts(data, only):
        sample = restoration_sample(data, row, name, crop)
        dataset = _endless(data, row.dataset, restoration_keys(row), seed + 1000 * len(pool)).random_map(sample)
        pool.append((dataset, weight))
    return pool


def fusion_pool(data, crop: int, seed: int) -> list[tuple[grain.MapDataset, float]]:
    """One endless data set for each row of registered pairs, with its weight."""
    pool = []
    for row, _, weight in fusion_parts(data):
        sample = fusion_sample(data, row, crop)
        dataset = _endless(data, row.dataset, fusion_keys(row), seed + 1000 * len(pool)).random_map(sample)
        pool.append((dataset, weight))
    return pool


def restoration_sample(data, row, condition: str, crop: int) -> "RestorationSample":
    """What makes the samples of a row of the restoration pool that get one condition first."""
    return RestorationSample(
        row.modality, condition_id(row.modality, condition), tuple(row.conditions), row.real, row.image, crop,
        data.two_conditions, data.wrong_prompt, data.grey_share, data.tone_share,
        changed(STRENGTHS, data.get("strengths", {})),
    )  # fmt: skip


def fusion_sample(data, row, crop: int) -> "FusionSample":
    """What makes the samples of a row of the fusion pool."""
    strengths = changed(STRENGTHS, data.get("strengths", {}))
    shares = data.two_conditions, data.degraded_share, data.tone_share
    return FusionSample(tuple(row.visible_conditions), crop, *shares, strengths)


def _endless(data, name: str, keys: tuple[str, ...], seed: int) -> grain.MapDataset:
    source = _source(name, str(data.data_dir), "train", keys, data.cache_mb)
    return grain.MapDataset.source(Endless(source, seed)).seed(seed)


@functools.cache
def _source(name: str, data_dir: str, split: str, keys: tuple[str, ...], cache_mb: float) -> Decoded:
    """Shared by all data sets of a process, so that each image is decoded once."""
    return Decoded(name, data_dir, split, keys, cache_mb)


@dataclasses.dataclass(frozen=True)
class RestorationSample(grain.transforms.RandomMap):
    """A clean image (or a real pair) to one sample of the restoration pool.

    With probability `wrong_prompt` the prompt names something that is not there (or "clean"), and the target is
    the degraded image itself: a prompt acts on what it names and on nothing else (ours, not the paper's).
    A `grey_share` of the visible samples is as a camera without colour gives it: else a lack of colour looks like haze.
    A `tone_share` of the grey and of the infrared synthetic ones is `toned`, unless its trouble is one of tone.
    """

    modality: str
    condition: int
    offered: tuple[str, ...]
    real: bool
    image: str
    crop: int
    two_conditions: float
    wrong_prompt: float
    grey_share: float
    tone_share: float
    strengths: Strengths

    def random_map(self, element: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """uint8 arrays in; float32 images of crop x crop x 3 out (keys: the restoration pool)."""
        ids, is_toned = [self.condition], False
        grey = self.modality == "visible" and rng.random() < self.grey_share
        if self.real:
            degraded, reference = crop_and_turn([element["degraded"], element["reference"]], self.crop, rng)
        else:
            (reference,) = crop_and_turn([element[self.image]], self.crop, rng)
            ids += second_condition(self.modality, self.offered, self.condition, self.two_conditions, rng)
            may_be = (grey or self.modality == "infrared") and not tonal(ids)
            is_toned = may_be and rng.random() < self.tone_share
            if is_toned:
                reference = toned(reference, self.modality, rng)
            degraded = degrade(reference, ids, rng, self.strengths)
        if grey:
            degraded, reference = luma(degraded)[..., None], luma(reference)[..., None]
        named, left = ids, []
        if rng.random() < self.wrong_prompt:
            known = {name for modality, name in DEGRADATIONS if modality == self.modality}
            absent = [condition_id(self.modality, name) for name in (known if self.real else self.offered)]
            # Who calls a toned image flat wants it stretched
            absent = sorted(i for i in set(absent) - set(ids) if not (is_toned and tonal([i])))
            absent.append(clean_id(self.modality))
            named, left, reference = [int(rng.choice(absent))], ids, degraded
        return {
            "degraded": three_channels(degraded),
            "reference": three_channels(reference),
            "modality": np.int32(MODALITIES.index(self.modality)),
            "conditions": multi_hot(ids),
            "reference_conditions": multi_hot(left),
            "prompt_ids": draw_prompts(rng, named, SLOTS),
        }


@dataclasses.dataclass(frozen=True)
class FusionSample(grain.transforms.RandomMap):
    """A registered pair to one sample of the fusion pool.

    A `degraded_share` of them has one or both images degraded. A `tone_share` of the images is `toned`, those with
    colour too, so that the rule meets more tones than a few data sets have; not where their trouble is one of tone.
    """

    visible_conditions: tuple[str, ...]
    crop: int
    two_conditions: float
    degraded_share: float
    tone_share: float
    strengths: Strengths

    def random_map(self, element: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """uint8 arrays in; float32 images of crop x crop out (keys: the fusion pool)."""
        images = crop_and_turn(list(element.values()), self.crop, rng)
        degraded = rng.random() < self.degraded_share
        which = rng.integers(1, 4) if degraded else 0  # bit 0: the visible image, bit 1: the infrared one
        sample = {}
        for bit, (modality, reference) in enumerate(zip(MODALITIES, images[:2], strict=True)):
            offered = tuple(name for m, name in DEGRADATIONS if m == modality)
            offered = tuple(n for n in offered if modality == "infrared" or n in self.visible_conditions)
            ids = []
            if which >> bit & 1:
                ids = [condition_id(modality, str(rng.choice(offered)))]
                ids += second_condition(modality, offered, ids[0], self.two_conditions, rng)
            if not tonal(ids) and rng.random() < self.tone_share:
                reference = toned(reference, modality, rng)
            sample[modality] = degrade(reference, ids, rng, self.strengths)
            sample[f"{modality}_reference"] = reference
            sample[f"{modality}_conditions"] = multi_hot(ids)
            sample[f"{modality}_prompt_ids"] = draw_prompts(rng, ids or [clean_id(modality)], SLOTS)
        if "labels" in element:
            sample["labels"] = np.round(255 * images[2][..., 0]).astype(np.int32)
        return sample


def second_condition(
    modality: str, offered: tuple[str, ...], first: int, probability: float, rng: np.random.Generator
) -> list[int]:
    """With `probability`, one more condition that can be met together with the first; else nothing."""
    if rng.random() >= probability:
        return []
    others = [condition_id(modality, name) for name in offered]
    others = [index for index in others if compatible(first, index)]
    return [int(rng.choice(others))] if others else []


def crop_and_turn(
    images: list[np.ndarray], crop: int, rng: np.random.Generator
) -> list[Float[np.ndarray, "crop crop C"]]:
    """The same random crop, flip and quarter turn of registered uint8 images, as float32 in [0,1].

    Images smaller than the crop are continued by reflection.
    """
    height, width = images[0].shape[:2]
    top, left = (int(rng.integers(0, max(side - crop, 0) + 1)) for side in (height, width))
    turns, flip = int(rng.integers(4)), rng.random() < 0.5
    out = []
    for image in images:
        image = image[top : top + crop, left : left + crop]
        missing = [(0, crop - side) for side in image.shape[:2]]
        if any(after for _, after in missing):
            image = np.pad(image, (*missing, (0, 0)), mode="symmetric")
        image = np.rot90(image[:, ::-1] if flip else image, turns)
        out.append(np.ascontiguousarray(image, np.float32) / 255)
    return out


def tonal(ids: list[int]) -> bool:
    """Whether any of these conditions is one of tone, which `toned` would be mistaken for."""
    return any(CONDITIONS[index].name in TONAL for index in ids)


def toned(image: Float[np.ndarray, "H W C"], modality: str, rng: np.random.Generator) -> Float[np.ndarray, "H W C"]:
    """The image as another camera may store it: less contrast, anywhere from black to white, nothing clipped (ours).

    Nothing binds the gain and offset of a thermal camera, or of one without colour, to the scene. Without such images,
    what is pale by nature is taken for hazy or flat.

    Args:
      image: float32 in [0,1].
      modality: "visible" or "infrared", of which `LEAST_CONTRAST` is the least share of the contrast that is kept.
      rng: of the contrast and the offset.
    """
    contrast = rng.uniform(LEAST_CONTRAST[modality], 1)
    return contrast * image + np.float32(rng.uniform(0, 1 - contrast))


def three_channels(image: Float[np.ndarray, "H W C"]) -> Float[np.ndarray, "H W 3"]:
    """Grey images repeated to three channels: one encoder reads both modalities."""
    return np.repeat(image, 3, -1) if image.shape[-1] == 1 else image
