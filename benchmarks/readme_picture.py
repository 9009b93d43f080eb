"""The README's picture, lure_tiny on synthetic scenes: python benchmarks/readme_picture.py OUT.jpg."""

import sys

import numpy as np
from PIL import Image

from lure_jax.data.degradations import degrade
from lure_jax.inference.fuser import Fuser
from lure_jax.text.conditions import condition_id
from tfds_builders.synthetic_scenes import render_scene

ROWS = (  # scene of seed 2, what is done to the visible and the infrared image, and the prompt
    (0, "haze", "stripe", "hazy; the thermal has stripes"),
    (2, "snow", "noise", "snow; the thermal is noisy"),
    (3, "low_light", "noise", "dark; the thermal is noisy"),
)


def grey_to_rgb(image: np.ndarray) -> np.ndarray:
    return np.repeat(image, 3, -1)


def worsened(image: np.ndarray, modality: str, name: str) -> np.ndarray:
    unit = degrade(image.astype(np.float32) / 255, [condition_id(modality, name)], np.random.default_rng(1))
    return np.round(255 * unit).astype(np.uint8)


def main(output: str) -> None:
    fuser, rows = Fuser.load("lure_tiny"), []
    for index, visible_fault, infrared_fault, prompt in ROWS:
        scene = render_scene(2, index, 240, 320)
        visible = worsened(scene.visible, "visible", visible_fault)
        infrared = worsened(scene.infrared, "infrared", infrared_fault)
        clean = [scene.visible, grey_to_rgb(scene.infrared), fuser.fuse(scene.visible, scene.infrared)]
        bad = [visible, grey_to_rgb(infrared), fuser.fuse(visible, infrared, prompt=prompt)]
        rows.append(np.concatenate(clean + bad, 1))
    Image.fromarray(np.concatenate(rows)).save(output, quality=90)


if __name__ == "__main__":
    main(*sys.argv[1:])
