"""The evaluator that runs inside training: restoration and fusion on validation images, and a contact sheet."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lure_jax.data.catalog import DataError
from lure_jax.data.degradations import degrade
from lure_jax.data.judged import UNKNOWN
from lure_jax.data.pipeline import SLOTS, crop_and_turn, three_channels
from lure_jax.data.sources import Decoded
from lure_jax.evaluation import batches, judging, segments
from lure_jax.metrics.color import luma
from lure_jax.metrics.fusion import evaluate_fused
from lure_jax.models.registry import JUDGES
from lure_jax.objectives.registry import WITH_HEADS
from lure_jax.text.conditions import MODALITIES, clean_id, condition_id, multi_hot
from lure_jax.text.prompts import prompt_ids

CROP = 128
SIZE = (224, 288)
IMAGES_PER_ROW = 3
PAIRS = 8
SHOWN = 4


def build_evaluator(config, model, heads=None) -> Callable:
    """(params, step, stage) -> (scalars, pictures) on the validation split of the config's pools.

    The images are spread over the mesh that the parameters lie on. Of a network that judges fused images:
    `judging.build_evaluator`.

    Scalars: PSNR in dB of the degraded input and of the restored image a condition ("psnr/visible/noise"), of
    D(E(x)) on clean images, the mean of the restored ones ("psnr/restored"), and, from the second stage on, the
    fusion metrics of clean pairs. Picture "fused": a contact sheet of pairs. With segmentation heads, in the stages
    that train them, also what `segments.build_monitor` gives.
    """
    if config.model.name in JUDGES:
        return judging.build_evaluator(config, model)
    restoration, fusion = restoration_samples(config), fusion_samples(config)
    monitor = segments.build_monitor(model, heads) if heads else None

    @jax.jit
    def restore(params, images, prompts):
        text = model.apply({"params": params}, prompts, method="tokens")
        return jnp.clip(model.apply({"params": params}, images, text, method="restore"), 0, 1)

    @jax.jit
    def fuse(params, visible, infrared, visible_prompts, infrared_prompts):
        tokens = [model.apply({"params": params}, ids, method="tokens") for ids in (visible_prompts, infrared_prompts)]
        return model.apply({"params": params}, visible, infrared, *tokens).image

    @jax.jit
    def lumas(fused, infrared, visible):
        return [jnp.round(255 * x) for x in (luma(fused), infrared[..., 0], luma(visible))]

    def evaluate(params, step, stage):
        scalars = {}
        if restoration is not None:
            scalars |= restoration_scores(restoration, restore, params)
        pictures = {}
        if fusion is not None and config.stages[stage].pool == "fusion":
            mesh, number = batches.mesh_of(params), len(fusion["visible"])
            visible, infrared = batches.scatter(mesh, fusion["visible"], fusion["infrared"])
            clean = fuse(params, visible, infrared, *batches.scatter(mesh, *(fusion[f"{m}_clean"] for m in MODALITIES)))
            bad = fuse(params, *batches.scatter(mesh, *(fusion[k] for k in
                       ("visible_bad", "infrared_bad", "visible_ids", "infrared_ids"))))  # fmt: skip
            scores = evaluate_fused(*lumas(clean, infrared, visible))
            clean, bad, scores = batches.gather((clean, bad, scores), number)
            scalars |= {f"fusion/{name}": float(value.mean()) for name, value in scores.items()}
            pictures["fused"] = contact_sheet(fusion, clean, bad)
            if monitor and config.stages[stage].objective in WITH_HEADS:
                watched, shown = monitor(params, fusion, step)
                scalars, pictures = scalars | watched, pictures | shown
        return scalars, pictures

    return evaluate


def restoration_samples(config) -> dict[str, np.ndarray] | None:
    """A few validation images of every row and condition, degraded once and for all."""
    samples = []
    for row in config.data.restoration:
        source = open_validation(config, row.dataset, ("degraded", "reference") if row.real else (row.image,))
        for name in row.conditions if source else ():
            for index in range(min(IMAGES_PER_ROW, len(source))):
                rng = np.random.default_rng([config.seed, index])
                ids = [condition_id(row.modality, name)]
                images = [source[index][key] for key in (("degraded", "reference") if row.real else (row.image,))]
                images = crop_and_turn(images, CROP, rng)
                degraded = images[0] if row.real else degrade(images[0], ids, rng)
                samples.append({
                    "name": f"{row.modality}/{'real_' if row.real else ''}{name}",
                    "degraded": three_channels(degraded),
                    "reference": three_channels(images[-1]),
                    "prompts": prompt_ids(ids, SLOTS),
                    "clean": prompt_ids([clean_id(row.modality)], SLOTS),
                    "conditions": multi_hot(ids),
                })  # fmt: skip
    return {key: np.stack([s[key] for s in samples]) for key in samples[0]} if samples else None


def restoration_scores(samples: dict[str, np.ndarray], restore: Callable, params) -> dict[str, float]:
    """PSNR of input, restored and reproduced images, in dB."""
    mesh, number = batches.mesh_of(params), len(samples["reference"])
    restored, reproduced = (
        batches.gather(restore(params, *batches.scatter(mesh, samples[images], samples[prompts])), number)
        for images, prompts in (("degraded", "prompts"), ("reference", "clean"))
    )
    before, after, same = (psnr(x, samples["reference"]) for x in (samples["degraded"], restored, reproduced))
    scores = {}
    for name in sorted(set(samples["name"])):
        chosen = samples["name"] == name
        scores[f"psnr_input/{name}"] = float(before[chosen].mean())
        scores[f"psnr/{name}"] = float(after[chosen].mean())
    for modality in MODALITIES:
        chosen = np.char.startswith(samples["name"], modality)
        if chosen.any():
            scores[f"psnr_reproduced/{modality}"] = float(same[chosen].mean())
    return scores | {"psnr/restored": float(after.mean())}


def fusion_samples(config) -> dict[str, np.ndarray] | None:
    """A few validation pairs of every set, cropped to one size, and the same pairs degraded; labels, 255 for none."""
    samples = []
    sources = [(row, open_pairs(config, row.dataset)) for row in config.data.fusion]
    sources = [(row, source) for row, source in sources if source]
    for row, source in sources:
        for index in range(min(PAIRS // len(sources), len(source))):
            element = source[index * len(source) // PAIRS]
            rng = np.random.default_rng([config.seed, index])
            unlabelled = np.full((*element["visible"].shape[:2], 1), UNKNOWN, np.uint8)
            labels = centre_crop(element.get("labels", unlabelled), *SIZE)[..., 0]
            sample = {"labels": np.round(255 * labels).astype(np.int32)}
            for modality, condition in zip(MODALITIES, (row.visible_conditions[index % len(row.visible_conditions)],
                                                        ("noise", "stripe")[index % 2]), strict=True):  # fmt: skip
                image = centre_crop(element[modality], *SIZE)
                ids = [condition_id(modality, condition)]
                sample[modality] = image
                sample[f"{modality}_bad"] = degrade(image, ids, rng)
                sample[f"{modality}_ids"] = prompt_ids(ids, SLOTS)
                sample[f"{modality}_clean"] = prompt_ids([clean_id(modality)], SLOTS)
            samples.append(sample)
    return {key: np.stack([s[key] for s in samples]) for key in samples[0]} if samples else None


def open_pairs(config, name: str) -> Decoded | None:
    """The validation pairs of a data set, with labels where it has them."""
    labelled = open_validation(config, name, (*MODALITIES, "labels"))
    return labelled or open_validation(config, name, MODALITIES)


def open_validation(config, name: str, keys: tuple[str, ...]) -> Decoded | None:
    """The validation split of a data set, or None where it has none, or not with these keys."""
    try:
        source = Decoded(name, config.data.data_dir, "val", keys, cache_mb=0)
        source[0]
        return source
    except DataError:
        return None


def centre_crop(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of a uint8 image as float32 in [0,1], continued by reflection where it is too small."""
    missing = [max(0, want - have) for want, have in zip((height, width), image.shape, strict=False)]
    image = np.pad(image, [*((0, n) for n in missing), (0, 0)], mode="symmetric")
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width].astype(np.float32) / 255


def contact_sheet(fusion: dict[str, np.ndarray], clean: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Rows of pairs: visible, infrared, fused; then both degraded, and the fused image of those. uint8 (H,W,3)."""
    order = np.linspace(0, len(clean) - 1, min(SHOWN, len(clean))).astype(int)
    columns = (fusion["visible"], fusion["infrared"], clean, fusion["visible_bad"], fusion["infrared_bad"], bad)
    rows = [np.concatenate([three_channels(column[i]) for column in columns], 1) for i in order]
    return np.round(255 * np.clip(np.concatenate(rows), 0, 1)).astype(np.uint8)


def psnr(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """10 log10(1 / MSE) of each image of a batch, in dB."""
    return -10 * np.log10(np.square(image - reference).mean((1, 2, 3)) + 1e-10)
