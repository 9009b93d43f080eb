"""What SSVIF does to fused images, and what they are worth: `python benchmarks/ssvif_worth.py --work runs/worth`.

Trains the two-stream network on the synthetic scenes with L_f alone, with SSVIF and with labels (the upper line), alike
in everything else, and compares its fused test scenes; then trains the segmentation network of
`configs/segmentation.py` on what each of them makes of the scenes, and on the visible and the infrared images. Networks
of one seed are judged with that seed. A row is kept in WORK/*.json as soon as it is there; the same command goes on
with the rows that are missing.
"""

import argparse
import functools
import pathlib
import sys
import time

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import downstream
import ssvif

import train
from configs import common, ssvif_supervised, ssvif_tiny
from lure_jax.data.sources import Decoded
from lure_jax.evaluation import tables
from lure_jax.inference.fuser import Fuser
from lure_jax.metrics.color import luma
from lure_jax.metrics.fusion import evaluate_fused
from lure_jax.objectives.ssvif import fusion_loss
from lure_jax.text.conditions import MODALITIES

ARMS = ("L_f only", "SSVIF", "supervised")
METRICS = ("VIF", "Qabf", "SSIM", "SCD", "MI")
SCENES = 60  # of the test split


def recipe(arm: str, seed: int, steps: int, data_dir: str):
    """A run of an arm.

    L_f only is stage 1 twice: the heads' gradients stop at the network and share but the norm that is clipped.
    """
    chosen = ssvif_supervised if arm == "supervised" else ssvif_tiny
    config = ssvif.shortened(chosen.get_config(), seed, steps, data_dir)
    if arm != "supervised":
        config.data.fusion = common.SYNTHETIC_FUSION
    if arm == "L_f only":
        for name in config.recipe:
            config.stages[name].update(objective="ssvif_heads", consistency=dict(equivariance=0.0, smoothness=0.0))
    return config


def place(work: pathlib.Path, arm: str, seed: int, steps: int) -> pathlib.Path:
    """The workdir of a run."""
    return work / f"{arm.replace(' ', '_')}_{seed}_{steps}"


def fused(arm: str, seed: int, steps: int, work: pathlib.Path, data_dir: str) -> dict[str, float]:
    """Trains a network; L_f and metrics of its fused test scenes."""
    config, start = recipe(arm, seed, steps, data_dir), time.perf_counter()
    workdir = place(work, arm, seed, steps)
    train.run(config, str(workdir))
    seconds = time.perf_counter() - start
    fuser = Fuser.load(workdir)
    source = Decoded(config.data.fusion[0].dataset, data_dir, "test", MODALITIES, cache_mb=0)
    rows = []
    for scene in (source[i] for i in range(min(SCENES, len(source)))):
        visible, infrared = (np.float32(scene[m])[None] / 255 for m in MODALITIES)
        image = fuser.fuse(visible, infrared)
        values = evaluate_fused(*(255 * y for y in (luma(image), infrared[..., 0], luma(visible))))
        loss, _ = fusion_loss(image, visible, infrared)
        rows.append([float(loss)] + [float(values[name][0]) for name in METRICS])
    return dict(zip(("L_f", *METRICS), np.mean(rows, 0).tolist(), strict=True)) | {"seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/worth"))
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--steps", type=int, default=250, help="of a fusion network, both stages together")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    flags.FLAGS.mark_as_parsed()  # Grain reads a flag
    keys = [{"arm": arm, "seed": seed, "steps": args.steps} for seed in args.seeds for arm in ARMS]
    measure = functools.partial(fused, work=args.work, data_dir=args.data_dir)
    rows = tables.resumed(args.work / "fusion.json", keys, measure)
    print(tables.markdown([row for row in rows if row["steps"] == args.steps], 3))

    def judged(method, seed, steps):
        path = str(place(args.work, method, seed, steps)) if method in ARMS else method
        return downstream.judged("segmentation", path, seed, 0, args.work / "judged", args.data_dir)

    methods = ("visible", "infrared", *ARMS)
    keys = [{"method": m, "seed": seed, "steps": args.steps} for seed in args.seeds for m in methods]
    rows = tables.resumed(args.work / "segmentation.json", keys, judged)
    print(tables.markdown(downstream.summary([row for row in rows if row["steps"] == args.steps], "segmentation"), 3))


if __name__ == "__main__":
    main()
