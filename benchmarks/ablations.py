"""What each part of LURE is worth: `python benchmarks/ablations.py --work runs/ablations [--steps 1600] [--seeds 2]`.

Trains `configs/ablations.py` once an arm and seed on the same batches and prints means and spreads on the validation
images: PSNR of the restored crops by condition, of D(E(x)) on clean ones, and fusion metrics of clean pairs. A row is
kept in WORK/ablations.json as soon as it is there; the same command goes on with the rows that are missing.
"""

import argparse
import functools
import pathlib
import sys
import time

import numpy as np
from absl import flags
from ml_collections import ConfigDict

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import train
from configs import ablations
from lure_jax.evaluation import tables
from lure_jax.evaluation.fusion import RANKED
from lure_jax.training.progress import read_metrics

RULE_SHARE = 1 / 8  # of the steps
DECIBELS = ("psnr", "psnr_reproduced")
DIGITS = 3


def recipe(arm: str, seed: int, steps: int, data_dir: str) -> ConfigDict:
    """The recipe of an arm, its steps divided between both stages."""
    config = ablations.get_config(arm)
    config.seed, config.data.data_dir, config.checkpoint.every = seed, data_dir, 500
    rule = max(1, round(RULE_SHARE * steps))
    for name, share in (("space", steps - rule), ("rule", rule)):
        stage = config.stages[name]
        stage.steps, stage.warmup = share, min(stage.warmup, share // 10)
    return config


def trained(arm: str, seed: int, steps: int, work: pathlib.Path, data_dir: str) -> dict[str, float]:
    """The scores at the end of a run, and the seconds it took."""
    workdir, start = work / f"{arm}_{seed}_{steps}", time.perf_counter()
    train.run(recipe(arm, seed, steps, data_dir), str(workdir))
    scores = [row for row in read_metrics(workdir) if row.get("split") == "eval"][-1]
    fusion = [f"fusion/{name}" for name in RANKED]
    kept = {name: value for name, value in scores.items() if name.split("/")[0] in DECIBELS or name in fusion}
    return kept | {"seconds": time.perf_counter() - start}


def summary(rows: list[dict]) -> list[dict]:
    """A line for each score, a column for each arm: the mean over its seeds, and after it half their range."""
    arms = [arm for arm in ablations.ARMS if any(row["arm"] == arm for row in rows)]
    lines = []
    for name in [name for name in rows[0] if name not in ("arm", "seed", "steps")]:
        line = {"score": name}
        for arm in arms:
            values = [row[name] for row in rows if row["arm"] == arm]
            spread = f" ± {np.ptp(values) / 2:.2g}" if len(values) > 1 else ""
            line[arm] = f"{np.mean(values):.{2 if name.startswith('psnr') else DIGITS}f}{spread}"
        lines.append(line)
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/ablations"))
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--steps", type=int, default=1600, help="of a run, both stages together")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--arms", nargs="+", default=list(ablations.ARMS), choices=ablations.ARMS)
    args = parser.parse_args()
    if args.steps < 2:
        parser.error(f"--steps {args.steps}: both stages need a step, so at least 2")
    flags.FLAGS.mark_as_parsed()  # Grain reads a flag
    keys = [{"arm": arm, "seed": seed, "steps": args.steps} for seed in range(args.seeds) for arm in args.arms]
    measure = functools.partial(trained, work=args.work, data_dir=args.data_dir)
    rows = tables.resumed(args.work / "ablations.json", keys, measure)
    print(tables.markdown(summary([row for row in rows if row["steps"] == args.steps]), DIGITS))


if __name__ == "__main__":
    main()
