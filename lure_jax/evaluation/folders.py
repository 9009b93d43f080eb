"""Folders of registered pairs as 8-bit images: matched, read and worked through; tables and reports written whole."""

import csv
import os
import pathlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import tqdm
from jaxtyping import UInt8

from lure_jax.evaluation.restoration import to_uint8
from lure_jax.inference import arrays, images
from lure_jax.inference.folders import JobError, plan_jobs

LEAST = 176  # pixels a side that MS-SSIM's five scales need
Files = dict[str, dict[str, pathlib.Path]]  # stem -> role -> file
Prepared, Result = TypeVar("Prepared"), TypeVar("Result")


class Sources(NamedTuple):
    """A registered pair, as every method gets it and is judged by."""

    visible: UInt8[np.ndarray, "H W 3"]
    infrared: UInt8[np.ndarray, "H W"]


def matched(folders: Mapping[str, os.PathLike]) -> Files:
    """The images of folders, by stem.

    Args:
      folders: role, for messages -> folder.

    Returns:
      Stem -> role -> file, sorted by stem; every stem has all roles.

    Raises:
      JobError: a folder is missing, is a file or holds no image; two images of one stem, or one without its partner.
    """
    folders = {role: pathlib.Path(folder) for role, folder in folders.items()}
    for role, folder in folders.items():
        if folder.is_file():
            raise JobError(f"The {role} path {folder} is a file; name a folder of images.")
    # Nothing is written: the output is asked for its stem only.
    jobs = plan_jobs(folders, next(iter(folders.values())) / "unwritten", overwrite=True)
    return {job.output.stem: job.inputs for job in jobs}


def read_sources(files: Mapping[str, pathlib.Path]) -> Sources:
    """Reads the files of the roles "visible" and "infrared" as `lure fuse` would see them, in 8 bits.

    Raises:
      ImageError: a file cannot be read, the two differ in size, or they are too small for the metrics.
    """
    sources = Sources(*(read_8_bit(files[role], role) for role in ("visible", "infrared")))
    sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in sources]
    if len(set(sizes)) > 1:
        raise images.ImageError(
            f"{files['visible']} is {sizes[0]} and {files['infrared']} is {sizes[1]}; the two images of a pair must "
            "have one size."
        )
    if min(sources.infrared.shape) < LEAST:
        raise images.ImageError(f"{files['visible']} is {sizes[0]}; the metrics need at least {LEAST}x{LEAST} pixels.")
    return sources


def read_8_bit(path: pathlib.Path, modality: str) -> UInt8[np.ndarray, "H W *C"]:
    """An image file as (H,W,3), grey repeated, or for "infrared" as (H,W); 16 bits as the Fuser reads them."""
    image = to_uint8(arrays.to_unit(images.read(path, modality), modality)[0][0])
    return image if modality == "visible" else image[..., 0]


def sizes(files: Files) -> list[tuple[int, int]]:
    """(height, width) of the pairs that can be opened; the others are told of when their turn comes."""
    found = []
    for roles in files.values():
        try:
            found.append(images.size(roles["visible"]))
        except images.ImageError:
            continue
    return found


def over_pairs(
    files: Files, work: Callable[[str, Sources], Result], unit: str = "pair"
) -> tuple[dict[str, Result], list[str]]:
    """Calls `work` with each stem and its pair, under a progress bar.

    Args:
      files: as `matched` gives them.
      work: may raise ValueError for a pair that it cannot use.
      unit: what the progress bar counts.

    Returns:
      Stem -> result, and one sentence for each pair that has none.
    """
    return over_batches(files, work, lambda results: results, 1, unit)


def over_batches(
    files: Files,
    prepare: Callable[[str, Sources], Prepared],
    finish: Callable[[list[Prepared]], list[Result]],
    size: int,
    unit: str = "pair",
) -> tuple[dict[str, Result], list[str]]:
    """As `over_pairs`, in two steps.

    Args:
      files: as `matched` gives them.
      prepare: of each pair alone, `over_pairs`'s `work`.
      finish: of what that gave for up to `size` pairs; one result for each.
      size: pairs at a time.
      unit: what the progress bar counts.

    Returns:
      As `over_pairs`; if `finish` fails, there is a sentence for each of its pairs.
    """
    results, failures, waiting = {}, [], {}

    def ready(stem: str) -> list[Prepared]:
        return [prepare(stem, read_sources(files[stem]))]

    def attempt(stems: list[str], call: Callable[[Any], list[Any]], argument: Any) -> dict[str, Any]:
        named = [files[stem]["visible"] for stem in stems]
        try:
            return dict(zip(stems, call(argument), strict=True))
        except images.ImageError as error:
            failures.append(str(error))
        except ValueError as error:
            failures.extend(f"{name}: {error}" for name in named)
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            told = f"could not be judged: {type(error).__name__} {error}".splitlines()[0]
            failures.extend(f"{name} {told}" for name in named)
        return {}

    last = next(reversed(files), None)
    for stem in tqdm.tqdm(files, unit=unit, disable=None):  # disable=None: without a terminal
        waiting |= attempt([stem], ready, stem)
        if waiting and (len(waiting) == size or stem == last):
            results |= attempt(list(waiting), finish, list(waiting.values()))
            waiting = {}
    return results, failures


def check_outputs(paths: Iterable[os.PathLike | None], *, overwrite: bool) -> None:
    """JobError if a file to be written is a folder, lies under a file, or exists and may not be replaced."""
    for path in (pathlib.Path(path) for path in paths if path is not None):
        if path.is_dir():
            raise JobError(f"The output {path} is a folder; name a file.")
        blocked = [parent for parent in path.parents if parent.is_file()]
        if blocked:
            raise JobError(f"The output {path} cannot be written: {blocked[0]} is a file.")
        if path.exists() and not overwrite:
            raise JobError(f"{path} already exists; give --overwrite to replace.")


def write_csv(path: os.PathLike, rows: Sequence[Mapping[str, object]]) -> None:
    """Writes rows under a temporary name and renames; the columns of all rows, in order of appearance."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.parent / f".{path.stem}-{uuid.uuid4().hex[:8]}.csv"
    with draft.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(column for row in rows for column in row)))
        writer.writeheader()
        writer.writerows(rows)
    draft.replace(path)
