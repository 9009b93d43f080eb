"""Flicker of a still scene under fresh noise, and what trails behind a moving object: a table, and the same as JSON.

python benchmarks/flicker.py --json runs/flicker.json
"""

import argparse
import json
import pathlib

import numpy as np
from PIL import Image

from lure_jax.inference.fuser import Fuser
from lure_jax.inference.stability import AVERAGED, Steady

IMAGES = pathlib.Path(__file__).resolve().parents[1] / "docs" / "images"
WAYS = {"frame by frame": None, "statistics": 1, "and still pixels": AVERAGED}  # frames averaged by `Steady`


def main():
    arguments = _arguments()
    fuser = Fuser.load(arguments.model)
    scene = read_scene(arguments.width)
    rows = []
    print(f"{'noise':>5} {'prompt':>8} {'way':17} {'deviation':>9} {'change':>7} {'better':>7} {'trail':>6}")
    for noise in arguments.noise:
        for prompt in arguments.prompt:
            still = {way: measure(fuser, scene, way, noise, prompt, arguments.frames) for way in WAYS}
            for way, (deviation, change) in still.items():
                row = {
                    "noise": noise,
                    "prompt": prompt,
                    "way": way,
                    "deviation": deviation,
                    "change": change,
                    "better": still["frame by frame"][0] / deviation,
                    "trail": trail(fuser, scene, way, noise, prompt, arguments.contrast),
                }
                rows.append(row)
                print(f"{noise:5g} {prompt:>8} {way:17} {deviation:9.3f} {change:7.3f} {row['better']:7.2f} "
                      f"{row['trail']:6.2f}", flush=True)  # fmt: skip
    print(
        "deviation: of a pixel over time, mean; change: from one frame to the next, mean absolute;\n"
        f"trail: what remains of an object {arguments.contrast:g} of 255 brighter where it was one frame before"
    )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def read_scene(width: int) -> dict[str, np.ndarray]:
    """The pair of docs/images with values in [0,255], shrunk to a width."""
    scene = {}
    for modality, mode in (("visible", "RGB"), ("infrared", "L")):
        image = Image.open(IMAGES / f"{modality}.png").convert(mode)
        scene[modality] = np.asarray(image.resize((width, width * image.height // image.width)), np.float32)
    return scene


def noisy(scene: dict[str, np.ndarray], sigma: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """8-bit frames with fresh white noise."""
    return {
        modality: np.clip(np.round(image + rng.normal(0, sigma, image.shape)), 0, 255).astype(np.uint8)
        for modality, image in scene.items()
    }


def stabiliser(fuser: Fuser, way: str, prompt: str):
    """frames -> result in that way."""
    if WAYS[way] is None:
        return lambda frames: fuser.fuse(frames["visible"], frames["infrared"], prompt)
    return Steady(fuser, fuser.read_prompt(prompt), WAYS[way])


def measure(fuser: Fuser, scene, way: str, sigma: float, prompt: str, count: int) -> tuple[float, float]:
    """Temporal standard deviation of a pixel and change from frame to frame, of a still scene, from frame 9 on."""
    rng, fuse = np.random.default_rng(0), stabiliser(fuser, way, prompt)
    results = np.stack([fuse(noisy(scene, sigma, rng)) for _ in range(AVERAGED + count)])[AVERAGED:].astype(np.float32)
    return float(results.std(0).mean()), float(np.abs(np.diff(results, axis=0)).mean())


def trail(fuser: Fuser, scene, way: str, sigma: float, prompt: str, contrast: float) -> float:
    """What an object that moves by its width leaves behind: difference of the means to the same video without it."""
    side = scene["infrared"].shape[0] // 8
    differences, left = {}, 0
    for there in (False, True):
        rng, fuse = np.random.default_rng(0), stabiliser(fuser, way, prompt)
        for k in range(AVERAGED + 2):
            moving = {m: image.copy() for m, image in scene.items()}
            left = k * side
            if there:
                for image in moving.values():
                    image[side : 2 * side, left : left + side] += contrast
            result = fuse(noisy(moving, sigma, rng))
        behind = slice(left - side, left - side // 4)  # where it was one frame before, without its own neighbourhood
        differences[there] = result[side : 2 * side, behind].astype(np.float32)
    return float(abs((differences[True] - differences[False]).mean()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lure_tiny", help="name, model folder or workdir")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--noise", type=float, nargs="+", default=[2, 8, 20], help="standard deviations, of 255")
    parser.add_argument("--prompt", nargs="+", default=["auto"])
    parser.add_argument("--contrast", type=float, default=40, help="of the moving object, of 255")
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
