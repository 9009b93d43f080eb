"""The picture of docs/explain.md, lure_tiny on a synthetic scene: python benchmarks/explain_picture.py OUT.jpg."""

import pathlib
import sys

import numpy as np
from PIL import Image

from lure_jax.data.degradations import degrade
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.sheet import explain_pair
from lure_jax.text.conditions import condition_id
from tfds_builders.synthetic_scenes import render_scene

SEED, SCENE = 2, 0  # the splits of the training scenes have seed 0
FAULTS = {"visible": "haze", "infrared": "stripe"}
PROMPT = "hazy, the thermal has stripes"
WIDTH = 1000


def main(output: str) -> None:
    scene, pair = render_scene(SEED, SCENE, 240, 320), {}
    for modality, name in FAULTS.items():
        unit, rng = getattr(scene, modality).astype(np.float32) / 255, np.random.default_rng(1)
        worse = degrade(unit, [condition_id(modality, name)], rng)
        pair[modality] = np.round(255 * worse).astype(np.uint8)
    fuser = Fuser.load("lure_tiny")
    drawn = Image.fromarray(explain_pair(fuser, pair, fuser.read_prompt(PROMPT), f'asked for as "{PROMPT}"'))
    drawn.resize((WIDTH, round(drawn.height * WIDTH / drawn.width)), Image.Resampling.LANCZOS).save(
        pathlib.Path(output), quality=85
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
