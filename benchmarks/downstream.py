"""What fused images are worth: `python benchmarks/downstream.py segmentation --work runs/downstream --seeds 3`.

Trains `configs/segmentation.py` or `configs/detection.py` once a method and seed and prints means and spreads on the
test split. A row is kept in WORK/TASK.json as soon as it is there; the same command goes on with the rows that are
missing. A difference inside the spread is no difference.
"""

import argparse
import functools
import importlib
import pathlib
import sys
import time

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import train
from lure_jax.evaluation import tables
from lure_jax.training.progress import read_metrics

SCORES = {
    "segmentation": ("mIoU", "mAcc"),
    "detection": ("AP50", "AP50/low", "AP50/high", "AP50:95", "AP50/person", "AP50/car"),
}
METHODS = ("visible", "infrared", "max", "lure_tiny")


def judged(task: str, method: str, seed: int, steps: int, work: pathlib.Path, data_dir: str) -> dict[str, float]:
    """The scores at the end of one run."""
    config = importlib.import_module(f"configs.{task}").get_config(method)
    config.seed, config.data.data_dir, config.checkpoint.every = seed, data_dir, 10**6
    if steps:
        config.stages[task].steps = steps
    workdir = work / f"{task}_{method.replace('/', '_')}_{seed}_{config.stages[task].steps}"
    start = time.perf_counter()
    train.run(config, str(workdir))
    scores = [row for row in read_metrics(workdir) if row.get("split") == "eval"][-1]
    return {name: scores[name] for name in SCORES[task]} | {"seconds": time.perf_counter() - start}


def summary(rows: list[dict], task: str) -> list[dict]:
    """Mean over the seeds of each method, and the standard deviation of the first score."""
    found = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        means = {name: float(np.mean([row[name] for row in own])) for name in SCORES[task]}
        spread = float(np.std([row[SCORES[task][0]] for row in own], ddof=1)) if len(own) > 1 else None
        found.append({"method": method, "seeds": len(own)} | means | {"spread": spread})
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=list(SCORES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="0: the recipe's")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/downstream"))
    parser.add_argument("--data-dir", default="data")
    args = parser.parse_args()
    flags.FLAGS.mark_as_parsed()  # Grain reads a flag
    keys = [{"method": m, "seed": seed, "steps": args.steps} for seed in range(args.seeds) for m in args.methods]
    measure = functools.partial(judged, args.task, work=args.work, data_dir=args.data_dir)
    rows = tables.resumed(args.work / f"{args.task}.json", keys, measure)
    print(tables.markdown(summary([row for row in rows if row["steps"] == args.steps], args.task), 3))


if __name__ == "__main__":
    main()
