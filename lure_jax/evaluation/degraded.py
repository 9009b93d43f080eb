"""Degradation-aware protocol: clean pairs made bad in known ways, fused as they are and with the help there is."""

import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lure_jax.data.degradations import DEGRADATIONS, degrade
from lure_jax.evaluation import fusion, restoration
from lure_jax.evaluation.classical import RESTORATIONS
from lure_jax.evaluation.folders import Sources, matched, over_pairs, read_8_bit, sizes
from lure_jax.evaluation.fusion import Scores
from lure_jax.evaluation.methods import Folder, Method, MethodError, Network, read_methods
from lure_jax.evaluation.restoration import Image, to_uint8
from lure_jax.inference import images
from lure_jax.inference.prompt import SLOTS, Prompt
from lure_jax.text.conditions import CONDITIONS, MODALITIES, Condition, clean_id, condition_id
from lure_jax.text.prompts import prompt_ids

SEED = 0
NONE = "none"  # the table of the clean pairs themselves
OWN_PSNR, OWN_SSIM = "PSNR to own clean", "SSIM to own clean"
TO_SOURCES = ("VIF", "Qabf", "SCD", "SSIM")
DIGITS = dict.fromkeys((OWN_SSIM, *TO_SOURCES), 3)
Key = tuple[str, str]  # method, help


class Result(NamedTuple):
    """Everything measured: condition -> (method, help) -> stem -> scores; and one sentence for each pair without."""

    scores: dict[str, dict[Key, dict[str, Scores]]]
    pairs: int
    failures: list[str]


def read_conditions(names: Iterable[str], option: str = "--condition") -> list[Condition]:
    """Conditions by name, all that can be made where none is named.

    Args:
      names: such as "visible/noise".
      option: that named them.

    Raises:
      MethodError: no such condition, or a clean one.
    """
    known = {f"{modality}/{name}": Condition(modality, name) for modality, name in DEGRADATIONS}
    for name in names:
        if name not in known:
            raise MethodError(f"{option} {name} is not known; choose from {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names)] or [c for c in CONDITIONS if c in known.values()]


def read_taken(texts: Iterable[str]) -> dict[str, str]:
    """Condition -> folder of CONDITION=FOLDER; MethodError if one is no such thing, or names a condition again."""
    folders: dict[str, str] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or not folder:
            raise MethodError(f"--taken {text} names no folder; write it like visible/low_light=dark/.")
        if name in folders:
            raise MethodError(f"--taken {text} names {name} again, after {folders[name]}; one folder a condition.")
        read_conditions([name], "--taken")
        folders[name] = folder
    return folders


def evaluate(
    visible: os.PathLike,
    infrared: os.PathLike,
    methods: Sequence[str],
    conditions: Iterable[str] = (),
    taken: Mapping[str, os.PathLike] | None = None,
) -> Result:
    """Fuses each pair clean and degraded, with each method.

    One image of a pair is degraded, the other stays clean; it is degraded in the same way for all methods and in every
    run. A baseline fuses the degraded pair as it is and after the classical restoration of the condition, where there
    is one; a model as it is ("auto") and with the prompt that names the condition.

    Args:
      visible: folder of clean images.
      infrared: folder, matched by stem.
      methods: baselines and models, as `methods.read_methods` takes them.
      conditions: to be made, as `read_conditions` takes them; without `taken`, none for all.
      taken: condition -> folder of images that were taken under it, matched by stem; of one size with the clean ones.

    Raises:
      JobError, MethodError, WeightsError: before any work.
    """
    taken = dict(taken or {})
    wanted = read_conditions([*conditions, *taken])
    files = matched({"visible": visible, "infrared": infrared, **taken})
    ready = read_methods(methods, sizes(files))
    for method in ready:
        if isinstance(method, Folder):
            raise MethodError(f"The method {method.name!r} is a folder of images, and a baseline or a model is needed.")
    seeds = {stem: index for index, stem in enumerate(files)}

    def judge(stem: str, clean: Sources) -> dict[str, dict[Key, Scores]]:
        own = {method.name: _plain(method, clean) for method in ready}
        scores = {NONE: {(name, "no help"): _scores(image, image, clean) for name, image in own.items()}}
        for condition in wanted:
            name = "/".join(condition)
            if name in taken:
                bad = replaced(clean, condition, files[stem][name])
            else:
                bad = degraded(clean, condition, seeds[stem])
            helped = restored(bad, condition) if any(not isinstance(method, Network) for method in ready) else {}
            scores[name] = {
                (method.name, help_): _scores(image, own[method.name], clean)
                for method in ready
                for help_, image in ways(method, condition, bad, helped)
            }
        return scores

    results, failures = over_pairs(files, judge)
    by_condition: dict[str, dict[Key, dict[str, Scores]]] = {}
    for stem, scores in results.items():
        for condition, rows in scores.items():
            for key, values in rows.items():
                by_condition.setdefault(condition, {}).setdefault(key, {})[stem] = values
    return Result(by_condition, len(results), failures)


def degraded(clean: Sources, condition: Condition, index: int) -> Sources:
    """The pair with one image degraded; condition and index decide the strengths and all that is random in it."""
    number = condition_id(*condition)
    image = getattr(clean, condition.modality)
    unit = image.reshape(*image.shape[:2], -1).astype(np.float32) / 255
    made = to_uint8(degrade(unit, [number], np.random.default_rng([SEED, number, index])))
    return clean._replace(**{condition.modality: made.reshape(image.shape)})


def replaced(clean: Sources, condition: Condition, file: pathlib.Path) -> Sources:
    """The pair with one image from a file; ImageError if it has another size."""
    image, reference = read_8_bit(file, condition.modality), getattr(clean, condition.modality)
    if image.shape != reference.shape:
        here, there = (f"{i.shape[1]}x{i.shape[0]}" for i in (image, reference))
        raise images.ImageError(f"{file} is {here} and its clean image {there}; they must have one size.")
    return clean._replace(**{condition.modality: image})


def restored(bad: Sources, condition: Condition) -> dict[str, Sources]:
    """The classical restoration of the condition, if there is one: its name, and the pair after it."""
    if condition not in RESTORATIONS:
        return {}
    name, restore = RESTORATIONS[condition]
    return {name: bad._replace(**{condition.modality: restore(getattr(bad, condition.modality))})}


def ways(
    method: Method, condition: Condition, bad: Sources, helped: Mapping[str, Sources]
) -> Iterator[tuple[str, Image]]:
    """How a method fuses a pair that suffers from a condition: what helps it, and the fused image."""
    yield "no help", _plain(method, bad)
    if isinstance(method, Network):
        yield "prompt", method.fuse("", bad, told(condition))
    else:
        for name, pair in helped.items():
            yield name, _plain(method, pair)


def told(condition: Condition) -> Prompt:
    """The prompt that names the condition, and the other image as clean."""
    present = {modality: [clean_id(modality)] for modality in MODALITIES}
    present[condition.modality] = [condition_id(*condition)]
    return Prompt(*(prompt_ids(present[modality], SLOTS) for modality in MODALITIES), ())


def _plain(method: Method, pair: Sources) -> Image:
    return method.fuse("", pair)


def _scores(fused: Image, own: Image, clean: Sources) -> Scores:
    to_own = restoration.score(fused, own)
    return {OWN_PSNR: to_own.psnr, OWN_SSIM: to_own.ssim, **fusion.fusion_scores(fused, *clean)}


def table(result: Result) -> dict[str, list[dict[str, Any]]]:
    """Condition -> rows of mean scores; the first, "none", is the clean pairs."""
    tables = {}
    for condition, methods in result.scores.items():
        rows = []
        for (method, help_), scores in methods.items():
            means = fusion.mean_scores(scores.values())
            columns = TO_SOURCES if condition == NONE else (OWN_PSNR, OWN_SSIM, *TO_SOURCES)
            rows.append({"method": method, "help": help_, **{column: means[column] for column in columns}})
        tables[condition] = rows
    return tables


def as_json(result: Result) -> dict[str, Any]:
    """All numbers: condition -> method -> help -> mean and images."""
    conditions: dict[str, Any] = {}
    for condition, methods in result.scores.items():
        for (method, help_), scores in methods.items():
            entry = {"mean": fusion.mean_scores(scores.values()), "images": scores}
            conditions.setdefault(condition, {}).setdefault(method, {})[help_] = entry
    return {"seed": SEED, "pairs": result.pairs, "conditions": conditions, "failures": result.failures}
