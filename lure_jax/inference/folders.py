"""Fusing and restoring files and folders: all complaints before any work, one bad file does not stop the rest."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import tqdm

from lure_jax.data import tonemap
from lure_jax.data.own_pairs import Misaligned
from lure_jax.inference import alignment, images, metadata, sheet
from lure_jax.inference.buckets import Size
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.prompt import Prompt


class JobError(ValueError):
    """Inputs and outputs that cannot be worked with; the message is one sentence."""


class Job(NamedTuple):
    """One result to make: role -> input file ("visible", "infrared"), and the file to write."""

    inputs: dict[str, pathlib.Path]
    output: pathlib.Path


class Report(NamedTuple):
    """What came of it: how many files were written, and one sentence for each that was not."""

    written: int
    failures: list[str]


def fuse_files(
    visible: os.PathLike,
    infrared: os.PathLike,
    output: os.PathLike,
    *,
    prompt: str = "auto",
    model: str = "lure_tiny",
    tone: str = "percentile",
    memory: str | None = None,
    align: bool = False,
    overwrite: bool = False,
    tell: Callable[[str], None] = print,
) -> Report:
    """Fuses a pair of files, or two folders of files matched by stem.

    Args:
      visible: file or folder.
      infrared: the same kind.
      output: file, whose suffix says the format; or the folder for STEM.png of each pair.
      prompt: "auto" or a sentence about both images.
      model: name or folder.
      tone: of radiometric infrared files, as the Fuser takes it.
      memory: of the process, as the Fuser takes it.
      align: register each infrared image to its visible one first; the result is what both show.
      overwrite: replace results that exist.
      tell: called with warnings.

    Returns:
      What was written and what failed.

    Raises:
      ValueError: before any work (JobError, WeightsError and the like).
    """
    jobs = plan_jobs({"visible": visible, "infrared": infrared}, output, overwrite=overwrite)

    def fuse(fuser: Fuser, read: Prompt, job: Job) -> np.ndarray:
        pair = {m: images.read(path, m, alpha=True, fit=fit) for m, path in job.inputs.items()}
        if align:
            pair = _aligned(job, pair)
        _check_sizes(job, pair)
        return fuser.fuse(pair["visible"], pair["infrared"], read)

    fit = tonemap.fit(tone)
    return _run(jobs, fuse, Fuser.load(model, _sizes(jobs), tone, memory), prompt, tell)


def restore_files(
    source: os.PathLike,
    output: os.PathLike,
    *,
    modality: str,
    prompt: str = "auto",
    model: str = "lure_tiny",
    tone: str = "percentile",
    memory: str | None = None,
    overwrite: bool = False,
    tell: Callable[[str], None] = print,
) -> Report:
    """Restores a file or a folder of files of one modality; the rest as in `fuse_files`."""
    jobs = plan_jobs({modality: source}, output, overwrite=overwrite)

    def restore(fuser: Fuser, read: Prompt, job: Job) -> np.ndarray:
        image = images.read(job.inputs[modality], modality, alpha=True, fit=fit)
        return fuser.restore(image, modality, read)

    fit = tonemap.fit(tone)
    fuser = Fuser.load(model, _sizes(jobs), tone, memory)
    fuser.check_restores()
    return _run(jobs, restore, fuser, {modality: prompt}, tell)


def explain_files(
    sources: Mapping[str, os.PathLike],
    output: os.PathLike,
    *,
    prompt: str = "auto",
    model: str = "lure_tiny",
    tone: str = "percentile",
    overwrite: bool = False,
    tell: Callable[[str], None] = print,
) -> Report:
    """Draws where a prompt acts in a pair of files, in one file, or in each of a folder.

    Args:
      sources: "visible", "infrared" or both -> file or folder.
      output: as of `fuse_files`; a sheet of labelled pictures.
      prompt: as of `fuse_files`; of one modality alone, a sentence about it.
      model: as of `fuse_files`.
      tone: as of `fuse_files`.
      overwrite: as of `fuse_files`.
      tell: as of `fuse_files`.

    Returns:
      What was written and what failed.

    Raises:
      ValueError: before any work.
    """
    if not sources:
        raise JobError("There is nothing to explain: give --visible, --infrared or both.")
    jobs = plan_jobs(sources, output, overwrite=overwrite)
    asked = "found by auto" if prompt.strip().lower() == "auto" else f'asked for as "{prompt}"'

    def explain(fuser: Fuser, read: Prompt, job: Job) -> np.ndarray:
        pair = {m: images.read(path, m, fit=fit) for m, path in job.inputs.items()}
        _check_sizes(job, pair)
        return sheet.explain_pair(fuser, pair, read, asked)

    fit = tonemap.fit(tone)
    fuser = Fuser.load(model, _sizes(jobs), tone)
    fuser.check_restores()
    prompt = prompt if len(sources) > 1 else dict.fromkeys(sources, prompt)
    return _run(jobs, explain, fuser, prompt, tell, describe=lambda job: metadata.NONE)


def plan_jobs(sources: Mapping[str, os.PathLike], output: os.PathLike, *, overwrite: bool) -> list[Job]:
    """Which files make which result, everything checked that can be without reading images.

    Args:
      sources: role -> file or folder.
      output: file, or folder if the sources are folders.
      overwrite: allow results that exist.

    Returns:
      The jobs, by stem.

    Raises:
      JobError: missing sources, files mixed with folders, no images, two of one stem, a stem without its partner, an
        output that is an input, exists, or has an unknown suffix.
    """
    sources = {role: pathlib.Path(path) for role, path in sources.items()}
    output = pathlib.Path(output)
    for role, path in sources.items():
        if not path.exists():
            raise JobError(f"The {role} path {path} does not exist.")
    if len({path.is_dir() for path in sources.values()}) > 1:
        folder, file = sorted(sources.values(), key=pathlib.Path.is_file)
        raise JobError(f"{folder} is a folder and {file} is a file; give two files or two folders.")
    in_folders = next(iter(sources.values())).is_dir()
    jobs = _folder_jobs(sources, output) if in_folders else [_file_job(sources, output)]
    inputs = {path.resolve() for job in jobs for path in job.inputs.values()}
    for job in jobs:
        if job.output.resolve() in inputs:
            raise JobError(f"The output {job.output} is one of the inputs.")
    existing = [job.output for job in jobs if job.output.exists()]
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise JobError(f"{existing[0]}{more} already exist{'' if more else 's'}; give --overwrite to replace.")
    return jobs


def _file_job(sources: dict[str, pathlib.Path], output: pathlib.Path) -> Job:
    if output.is_dir():
        raise JobError(f"The output {output} is a folder; for an input file, name the file to write.")
    if output.suffix.lower() not in images.WRITTEN:
        raise JobError(f"The output {output} must end in one of {', '.join(images.WRITTEN)}.")
    return Job(sources, output)


def _folder_jobs(sources: dict[str, pathlib.Path], output: pathlib.Path) -> list[Job]:
    if output.exists() and not output.is_dir():
        raise JobError(f"The output {output} is a file; for input folders, name a folder.")
    if output.resolve() in {path.resolve() for path in sources.values()}:
        raise JobError(f"The output {output} is one of the input folders.")
    by_stem = {role: _images_in(folder) for role, folder in sources.items()}
    stems = sorted(set().union(*by_stem.values()))
    for stem in stems:
        there = [files[stem] for files in by_stem.values() if stem in files]
        lacking = [sources[role] for role, files in by_stem.items() if stem not in files]
        if lacking:
            raise JobError(f"{there[0]} has no partner {stem}.* in {lacking[0]}.")
    return [Job({role: files[stem] for role, files in by_stem.items()}, output / f"{stem}.png") for stem in stems]


def _images_in(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Stem -> file of the images right in a folder; hidden files and other suffixes are no images."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in images.READ or path.is_dir():
            continue
        if path.stem in found:
            raise JobError(f"{found[path.stem]} and {path.name} have one stem and would make one result.")
        found[path.stem] = path
    if not found:
        raise JobError(f"{folder} holds no image ({', '.join(images.READ)}).")
    return found


def _run(
    jobs: Sequence[Job],
    make: Callable[[Fuser, Prompt, Job], np.ndarray],
    fuser: Fuser,
    prompt: str | Mapping[str, str],
    tell: Callable[[str], None],
    describe: Callable[[Job], metadata.Metadata] = lambda job: images.described(next(iter(job.inputs.values()))),
) -> Report:
    read = fuser.read_prompt_aloud(prompt, tell)
    failures = []
    # Without a terminal, or for a single file, there is nothing to watch.
    for job in tqdm.tqdm(jobs, unit="image", disable=True if len(jobs) == 1 else None):
        try:
            result = make(fuser, read, job)
            images.write(job.output, result, describe(job))
        except images.ImageError as error:
            failures.append(str(error))
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            failures.append(f"{_named(job)} could not be computed: {type(error).__name__} {error}".splitlines()[0])
        except ValueError as error:
            failures.append(f"{_named(job)}: {error}")
    return Report(len(jobs) - len(failures), failures)


def _sizes(jobs: Sequence[Job]) -> list[Size]:
    """Sizes of the images that can be opened; the others fail by name in their turn."""
    sizes = []
    for job in jobs:
        try:
            sizes.append(images.size(next(iter(job.inputs.values()))))
        except images.ImageError:
            continue
    return sizes


def _check_sizes(job: Job, pair: dict[str, np.ndarray]) -> None:
    shapes = {modality: image.shape[:2] for modality, image in pair.items()}
    if len(set(shapes.values())) > 1:
        told = " and ".join(f"{job.inputs[m]} is {width}x{height}" for m, (height, width) in shapes.items())
        raise images.ImageError(
            f"{told}; a pair must have one size and lie on each other: give --align, or use lure data align before."
        )


def _aligned(job: Job, pair: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    try:
        return dict(zip(pair, alignment.align(*pair.values())(*pair.values()), strict=True))
    except Misaligned as error:
        raise images.ImageError(f"{_named(job)} could not be aligned: {error}") from error


def _named(job: Job) -> str:
    return " with ".join(map(str, job.inputs.values()))
