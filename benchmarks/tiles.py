"""Peak memory against the budget, and how tiles differ from the whole image: a table, and the same as JSON.

python benchmarks/tiles.py --memory 1GB 2GB --json runs/tiles.json     # each size and budget in a process of its own
python benchmarks/tiles.py --preset base --size 640x480 960x720 --memory # bytes per pixel of another preset
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from fuse import _peak_bytes, random_model
from PIL import Image

IMAGES = pathlib.Path(__file__).resolve().parents[1] / "docs" / "images"
WHOLE = "999GB"


def main():
    arguments = _arguments()
    if arguments.child:
        return fuse(*arguments.child, arguments)
    rows = []
    print(f"{'size':>11} {'memory':>8} {'tiles':>7} {'peak MB':>8} {'seconds':>8} {'mean':>6} {'p99':>5} {'most':>5}")
    with tempfile.TemporaryDirectory() as folder:
        for size in arguments.size:
            for memory in (WHOLE, *arguments.memory):
                rows.append(_run(size, memory, folder, arguments))
                row = rows[-1]
                print(f"{size:>11} {memory:>8} {row['tiles']:>7} {row['peak_mb']:8.0f} {row['seconds']:8.1f} "
                      f"{row['mean']:6.3f} {row['p99']:5.1f} {row['most']:5.1f}", flush=True)  # fmt: skip
            if arguments.pictures and arguments.memory:
                _difference(folder, size, arguments.memory[-1]).save(arguments.pictures / f"tiles_{size}.png")
    whole = [row for row in rows if row["memory"] == WHOLE]
    if len(whole) > 1:
        slope, base = np.polyfit([row["pixels"] for row in whole], [row["peak_mb"] * 1e6 for row in whole], 1)
        print(f"whole images: {slope:.0f} bytes for each pixel and {base / 1e6:.0f} MB")
    print("mean, p99, most: absolute difference to the whole image, in grey levels of 255")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def fuse(size: str, memory: str, folder: str, arguments: argparse.Namespace) -> None:
    """Fuses the docs' pair, enlarged, with white noise; keeps the result and tells its peak memory."""
    import jax

    from lure_jax.inference import tiles
    from lure_jax.inference.fuser import Fuser
    from lure_jax.inference.weights import load

    width, height = map(int, size.split("x"))
    rng, pair = np.random.default_rng(0), []
    for name, mode in (("visible", "RGB"), ("infrared", "L")):
        image = np.asarray(Image.open(IMAGES / f"{name}.png").convert(mode).resize((width, height)), np.float32)
        pair.append(np.clip(image + rng.normal(0, arguments.noise, image.shape), 0, 255).astype(np.uint8))
        del image
    released = random_model(arguments.preset) if arguments.preset else load(arguments.model)
    fuser, start = Fuser(released, memory=memory), time.perf_counter()
    result = fuser.fuse(*pair, arguments.prompt)
    seconds = time.perf_counter() - start
    np.save(pathlib.Path(folder) / f"{size}-{memory}.npy", result)
    pixels = tiles.affordable_pixels(memory, released.config["name"], released.config["preset"])
    if height * width > pixels:
        pixels = tiles.beside_image(pixels, (height, width), released.config["name"], released.config["preset"])
    plan = tiles.plan((height, width), pixels, released.model.sizes.multiple)
    print(json.dumps({
        "size": size, "pixels": width * height, "memory": memory, "tiles": f"{len(plan.tops)}x{len(plan.lefts)}",
        "seconds": seconds, "peak_mb": _peak_bytes(jax.devices()[0]) / 1e6,
    }))  # fmt: skip


def _run(size: str, memory: str, folder: str, arguments: argparse.Namespace) -> dict:
    options = ["--model", arguments.model, "--noise", str(arguments.noise), "--prompt", arguments.prompt]
    options += ["--preset", arguments.preset] if arguments.preset else []
    command = [sys.executable, __file__, *options, "--child", size, memory, folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    row = json.loads(done.stdout.splitlines()[-1])
    whole, tiled = (np.load(f"{folder}/{size}-{m}.npy").astype(np.float32) for m in (WHOLE, memory))
    away = np.abs(whole - tiled)
    return row | {"mean": float(away.mean()), "p99": float(np.percentile(away, 99)), "most": float(away.max())}


def _difference(folder: str, size: str, memory: str) -> Image.Image:
    """Tiled less whole around mid grey, 30 times enlarged: a seam would be a line."""
    whole, tiled = (np.load(f"{folder}/{size}-{m}.npy").astype(np.float32) for m in (WHOLE, memory))
    return Image.fromarray(np.clip(128 + 30 * (tiled - whole), 0, 255).astype(np.uint8))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lure_tiny", help="name, model folder or workdir")
    parser.add_argument("--preset", help="a random model of this preset instead")
    parser.add_argument("--size", nargs="+", default=["1280x960", "2560x1920"], help="WIDTHxHEIGHT")
    parser.add_argument("--memory", nargs="*", default=["1GB", "2GB"], help="budgets")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation, of 255")
    parser.add_argument("--prompt", default="auto")
    parser.add_argument("--pictures", type=pathlib.Path, help="existing folder for pictures of the differences")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
