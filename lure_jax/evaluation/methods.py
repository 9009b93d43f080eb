"""What METHOD may name: a baseline, a model, or a folder of images that something else has fused."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lure_jax.errors import UserError
from lure_jax.evaluation import baselines
from lure_jax.evaluation.folders import Files, Sources, matched, read_8_bit
from lure_jax.evaluation.restoration import Image, to_uint8
from lure_jax.inference import images, weights
from lure_jax.inference.buckets import Size
from lure_jax.inference.folders import JobError
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.prompt import Prompt


class MethodError(UserError):
    """A METHOD that names nothing, or one that cannot do what is asked; the message is one sentence."""


class Rule(NamedTuple):
    """A fusion rule of `baselines.BASELINES`."""

    name: str
    rule: baselines.Fuse

    def fuse(self, stem: str, sources: Sources) -> Image:
        """The fused image, (H,W,3) uint8."""
        del stem
        batch = sources.visible[None] / np.float32(255), sources.infrared[None, ..., None] / np.float32(255)
        return to_uint8(np.asarray(self.rule(*batch))[0])


class Network(NamedTuple):
    """A model of ours."""

    name: str
    fuser: Fuser

    def fuse(self, stem: str, sources: Sources, prompt: str | Prompt = "auto") -> Image:
        """The fused image, (H,W,3) uint8."""
        del stem
        return self.fuser.fuse(*sources, prompt)


class Folder(NamedTuple):
    """Images that are fused already: stem -> file."""

    name: str
    files: dict[str, pathlib.Path]

    def fuse(self, stem: str, sources: Sources) -> Image:
        """The fused image, (H,W,3) uint8; ImageError if it cannot be read or has another size than its sources."""
        image = read_8_bit(self.files[stem], "visible")
        if image.shape != sources.visible.shape:
            (height, width), (rows, columns) = image.shape[:2], sources.infrared.shape
            raise images.ImageError(
                f"{self.files[stem]} is {width}x{height} and its sources are {columns}x{rows}; the sizes must be equal."
            )
        return image


Method = Rule | Network | Folder


def read_methods(texts: Iterable[str], sizes: Sequence[Size]) -> list[Method]:
    """Understands METHOD arguments and loads the models among them.

    Args:
      texts: a baseline's name, a model's name or folder, or NAME=DIR with a folder of fused images; NAME= may stand
        before a baseline and a model too.
      sizes: (height, width) of images to come, for the models.

    Returns:
      The methods in the order given.

    Raises:
      MethodError: one that names nothing, or two of one name.
      JobError, WeightsError: a folder or a model that cannot be used.
    """
    named = [text.partition("=") for text in texts]
    names = [name for name, _, _ in named]
    for name in names:
        if names.count(name) > 1:
            raise MethodError(f"Two methods are called {name!r}; give one another name: NAME={name}.")
    return [_method(name, target, sizes) for name, _, target in named]


def _method(name: str, target: str, sizes: Sequence[Size]) -> Method:
    known = target or name
    if known in baselines.BASELINES:
        return Rule(name, baselines.BASELINES[known])
    if _is_model(known):
        return Network(name, Fuser.load(known, sizes))
    if target:
        return Folder(name, folder_files(name, target))
    raise MethodError(
        f"The method {name!r} is neither a baseline ({', '.join(baselines.BASELINES)}) nor a model "
        f"({', '.join([*weights.shipped(), 'a folder of one'])}); for a folder of fused images give NAME=DIR."
    )


def _is_model(name: str) -> bool:
    try:
        weights.find(name)
    except weights.WeightsError:
        return False
    return True


def folder_files(name: str, folder: str | pathlib.Path) -> dict[str, pathlib.Path]:
    """Stem -> file of a folder of fused images; JobError if it cannot be used."""
    return {stem: roles[name] for stem, roles in matched({name: folder}).items()}


def judged(pairs: Files, methods: Iterable[Method]) -> Files:
    """The pairs that every method has an image of: those of the folders, else all.

    Args:
      pairs: of sources.
      methods: whose folders must hold images of the same stems, so that all are judged by the same pairs.

    Raises:
      JobError: a fused image without sources, or one that another folder lacks.
    """
    folders = [method for method in methods if isinstance(method, Folder)]
    for folder in folders:
        for stem, path in folder.files.items():
            if stem not in pairs:
                raise JobError(f"{path} has no sources {stem}.* in the visible and infrared folders.")
            for other in folders:
                if stem not in other.files:
                    raise JobError(f"{path} has no partner {stem}.* in the folder of {other.name}.")
    return {stem: pairs[stem] for stem in folders[0].files} if folders else pairs
