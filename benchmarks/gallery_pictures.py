"""The pictures of docs/gallery.md, lure_tiny on synthetic scenes.

python benchmarks/gallery_pictures.py docs/images/gallery
"""

import pathlib
import sys

import numpy as np
from PIL import Image

from lure_jax.data.degradations import DEGRADATIONS, STRENGTHS, degrade
from lure_jax.data.gallery import fixed
from lure_jax.inference.fuser import Fuser
from lure_jax.text.conditions import condition_id
from tfds_builders.synthetic_scenes import render_scene

SEED = 2  # the splits of the training scenes have seed 0
CLEAN = {"day": 0, "night": 1}
PROMPTS = {  # of each degradation; the other image is clean
    ("visible", "low_light"): "dark",
    ("visible", "over_exposure"): "over-exposed",
    ("visible", "haze"): "hazy",
    ("visible", "rain"): "rain",
    ("visible", "snow"): "snow",
    ("visible", "noise"): "noisy",
    ("visible", "blur"): "blurred",
    ("infrared", "low_contrast"): "the thermal has low contrast",
    ("infrared", "noise"): "the thermal is noisy",
    ("infrared", "stripe"): "the thermal has stripes",
    ("infrared", "blur"): "the thermal is blurred",
}
STRENGTH = 0.6  # of each degradation in its range


def main(folder: str) -> None:
    target, fuser = pathlib.Path(folder), Fuser.load("lure_tiny")
    target.mkdir(parents=True, exist_ok=True)
    for name, index in _scenes().items():
        scene = render_scene(SEED, index, 240, 320)
        _save(target / f"{name}.jpg", scene.visible, scene.infrared, fuser.fuse(scene.visible, scene.infrared))
    scene = render_scene(SEED, _scenes()["day"], 240, 320)
    for (modality, name), prompt in PROMPTS.items():
        pair = {"visible": scene.visible, "infrared": scene.infrared}
        pair[modality] = worsened(pair[modality], modality, name)
        asked = [fuser.fuse(pair["visible"], pair["infrared"], sentence) for sentence in ("clean", prompt)]
        _save(target / f"{modality}_{name}.jpg", pair["visible"], pair["infrared"], *asked)


def worsened(image: np.ndarray, modality: str, name: str) -> np.ndarray:
    """One degradation at `STRENGTH` of its range."""
    strengths = {(modality, name): fixed(STRENGTHS, (modality, name), STRENGTH)}
    unit = degrade(image.astype(np.float32) / 255, [condition_id(modality, name)], np.random.default_rng(1), strengths)
    return np.round(255 * unit).astype(np.uint8)


def _scenes() -> dict[str, int]:
    """The first scene of the seed by day, and by night."""
    nights = [render_scene(SEED, index, 240, 320).night for index in range(6)]
    return {"day": nights.index(False), "night": nights.index(True)}


def _save(path: pathlib.Path, *images: np.ndarray) -> None:
    tiles = [np.repeat(image, 3, -1) if image.shape[-1] == 1 else image for image in images]
    Image.fromarray(np.concatenate(tiles, 1)).save(path, quality=80)


if __name__ == "__main__":
    assert set(PROMPTS) == set(DEGRADATIONS)
    main(*sys.argv[1:])
