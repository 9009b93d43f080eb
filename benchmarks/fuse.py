"""Time and memory of fusing one pair: a table, and the same as JSON.

python benchmarks/fuse.py --threads 2 --json runs/fuse.json
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import sys
import time

IMAGES = pathlib.Path(__file__).resolve().parents[1] / "docs" / "images"


def main():
    arguments = _arguments()
    if arguments.threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # XLA counts these at start
    rows = [measure(size, arguments) for size in arguments.size]
    print(f"{'size':>11} {'first s':>9} {'median s':>9} {'images/s':>9} {'peak MB':>9}   on {rows[0]['device']}")
    for row in rows:
        numbers = f"{row['first_s']:9.2f} {row['median_s']:9.3f} {row['images_per_s']:9.2f} {row['peak_mb']:9.0f}"
        print(f"{row['size']:>11} {numbers}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(size: str, arguments: argparse.Namespace) -> dict:
    """Fuses the README's drawn scene at `size` ("640x480") from numpy to numpy; the peak is the process's so far."""
    import jax
    import numpy as np
    from PIL import Image

    from lure_jax.inference.fuser import Fuser

    width, height = map(int, size.split("x"))
    visible, infrared = (
        np.asarray(Image.open(IMAGES / f"{name}.png").convert(mode).resize((width, height)))
        for name, mode in (("visible", "RGB"), ("infrared", "L"))
    )
    fuser = Fuser(random_model(arguments.preset)) if arguments.preset else Fuser.load(arguments.model)
    seconds = []
    for _ in range(arguments.repeats + 1):
        start = time.perf_counter()
        fuser.fuse(visible, infrared, arguments.prompt)
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[1:])
    device = jax.devices()[0]
    return {
        "size": size,
        "model": arguments.preset or arguments.model,
        "device": device.device_kind,
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "first_s": seconds[0],
        "median_s": median,
        "images_per_s": 1 / median,
        "peak_mb": _peak_bytes(device) / 1e6,
    }


def random_model(preset: str):
    """A model of that preset with small random weights: they do not change the time."""
    import flax.linen as nn
    import jax
    import numpy as np
    from ml_collections import ConfigDict

    from lure_jax.inference.weights import Released
    from lure_jax.models import registry

    config = {"name": "lure", "preset": preset, "text": "table", "dtype": "float32", "remat": False}
    model = registry.build(ConfigDict(config))
    abstract = nn.unbox(jax.eval_shape(lambda key: registry.initialise(model, key), jax.random.key(0)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), abstract)
    return Released(model, params, config, np.full(13, 0.5, np.float32))


def _peak_bytes(device) -> int:
    if device.platform != "cpu":
        return device.memory_stats()["peak_bytes_in_use"]
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lure_tiny", help="name, model folder or workdir")
    parser.add_argument("--preset", help="time a random model of this preset instead")
    parser.add_argument("--prompt", default="clean", help="what is wrong with the images")
    parser.add_argument("--size", nargs="+", default=["640x480"], help="WIDTHxHEIGHT")
    parser.add_argument("--threads", type=int, help="CPU cores to use; default all")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
