"""Pairs to try the page with: synthetic scenes, rendered when asked for and kept."""

import functools
from typing import NamedTuple

import numpy as np

from lure_jax.data.degradations import degrade
from lure_jax.evaluation.restoration import to_uint8
from lure_jax.serve import uploads
from lure_jax.text.conditions import MODALITIES, condition_id
from tfds_builders.synthetic_scenes import render_scene

_SEED = 2  # no scene of the embedded data set, which has seed 0
_SIZE = (480, 640)


class Sample(NamedTuple):
    """A scene, and what is done to its two images."""

    title: str
    scene: int
    visible: tuple[str, ...] = ()
    infrared: tuple[str, ...] = ()


SAMPLES = {
    "night": Sample("Night", 3),
    "haze": Sample("Haze, stripes", 0, ("haze",), ("stripe",)),
    "snow": Sample("Snow, thermal noise", 2, ("snow",), ("noise",)),
    "dark": Sample("Far too dark", 4, ("low_light",)),
}


@functools.lru_cache(maxsize=2 * len(SAMPLES))
def png(name: str, modality: str) -> bytes:
    """One image of a sample; KeyError if there is none."""
    sample, which = SAMPLES[name], MODALITIES.index(modality)
    scene = render_scene(_SEED, sample.scene, *_SIZE)
    image = (scene.visible, scene.infrared)[which].astype(np.float32) / 255
    ids = [condition_id(modality, condition) for condition in (sample.visible, sample.infrared)[which]]
    image = to_uint8(degrade(image, ids, np.random.default_rng(1)))
    return uploads.png(image if modality == "visible" else image[..., 0])
