"""ONNX Runtime against JAX on the same pairs: how equal, how fast; a table, and the same as JSON.

In the environment of docs/requirements-onnx.txt:
onnxenv/bin/python benchmarks/onnx_runtime.py --model lure.safetensors --onnx fuse.onnx --json runs/onnx.json
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

LIMIT = 1e-4  # what the programs may differ by


def main():
    arguments = _arguments()
    if arguments.threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # both count these at start
    rows = measure(arguments)
    print(f"{'size':>11} {'JAX s':>8} {'ONNX s':>8} {'ratio':>6} {'differ by':>10}   medians of {arguments.repeats}")
    for row in rows:
        times = f"{row['jax_s']:8.3f} {row['onnx_s']:8.3f} {row['onnx_s'] / row['jax_s']:6.2f}"
        print(f"{row['size']:>11} {times} {row['difference']:10.1e}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    if max(row["difference"] for row in rows) > LIMIT:
        sys.exit(f"the programs differ by more than {LIMIT:g}")


def measure(arguments: argparse.Namespace) -> list[dict]:
    """A row for each size; the images are random, the prompt `auto`."""
    import jax
    import numpy as np
    import onnxruntime

    from lure_jax.inference import portable, weights
    from lure_jax.inference.prompt import AUTO, SLOTS

    fuse = jax.jit(portable.fusion(weights.load(arguments.model)))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads or 0
    session = onnxruntime.InferenceSession(arguments.onnx, options)
    rng, auto, rows = np.random.default_rng(0), np.full((1, SLOTS), AUTO, np.int32), []
    for size in arguments.size:
        width, height = map(int, size.split("x"))
        images = rng.random((1, height, width, 3), np.float32), rng.random((1, height, width, 1), np.float32)
        inputs = dict(zip([i.name for i in session.get_inputs()], (*images, auto, auto), strict=False))
        expected, jax_s = _timed(lambda inputs=inputs: np.asarray(fuse(*inputs.values())), arguments.repeats)
        found, onnx_s = _timed(lambda inputs=inputs: session.run(None, inputs)[0], arguments.repeats)
        difference = float(np.abs(found - expected).max())
        rows.append({"size": size, "jax_s": jax_s, "onnx_s": onnx_s, "difference": difference})
    return rows


def _timed(work, repeats: int):
    """The result, and the median seconds after a first call."""
    result, seconds = work(), []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help=".safetensors file")
    parser.add_argument("--onnx", required=True, help="its ONNX export, without a baked prompt")
    parser.add_argument("--size", nargs="+", default=["320x240", "640x480", "501x333"], help="WIDTHxHEIGHT")
    parser.add_argument("--threads", type=int, help="CPU cores to use; default all")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
