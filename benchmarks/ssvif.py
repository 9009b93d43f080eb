"""What keeps SSVIF's heads from collapsing: `python benchmarks/ssvif.py --work runs/ssvif [--steps 300] [--seeds 2]`.

Trains new heads on the released `ssvif_tiny` by its recipe, on the synthetic scenes, once an arm and seed, and judges
them on the test scenes. (What a fusion network at its own beginning offers heads is little more than brightness.) A row
is kept in WORK/ablation.json as soon as it is there; the same command goes on with the rows that are missing.
`--plot RUN` draws the dynamic weights of a training workdir to RUN/weights.png instead.
"""

import argparse
import functools
import pathlib
import sys
import time

import flax.linen as nn
import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import train
from configs import common, ssvif_tiny
from lure_jax.data.sources import Decoded
from lure_jax.evaluation import segments, tables
from lure_jax.models import registry
from lure_jax.text.conditions import MODALITIES
from lure_jax.training import checkpoints
from lure_jax.training.progress import read_metrics

ARMS = {
    "L_x": dict(balance=0.0, entropy=0.0, equivariance=0.0, smoothness=0.0),
    "L_x + 2 L_e": dict(balance=0.0, equivariance=0.0, smoothness=0.0),
    "balanced L_x + 2 L_e": dict(equivariance=0.0, smoothness=0.0),
    "full": {},
}
BATCH = 4
DIGITS = 3


def recipe(arm: str, seed: int, steps: int, data_dir: str) -> ConfigDict:
    """The tiny recipe on the synthetic scenes from a trained fusion network on, 60 % of the steps in stage 1."""
    config = shortened(ssvif_tiny.get_config(), seed, steps, data_dir)
    config.data.fusion, config.init_from = common.SYNTHETIC_FUSION, "ssvif_tiny"
    for name in config.recipe:
        config.stages[name].consistency = ConfigDict(ARMS[arm])
    return config


def shortened(config: ConfigDict, seed: int, steps: int, data_dir: str) -> ConfigDict:
    """A recipe of two stages with 60 % of so many steps in the first, and no checkpoint on the way."""
    config.seed, config.data.data_dir = seed, data_dir
    for name, share in zip(config.recipe, (0.6, 0.4), strict=True):
        stage = config.stages[name]
        stage.steps, stage.warmup = round(share * steps), min(stage.warmup, round(0.1 * share * steps))
    config.checkpoint.every = 10 * steps
    return config


def judged(config, workdir: pathlib.Path) -> dict[str, float]:
    """The monitor's scores over the test scenes, of a workdir's averaged parameters.

    mIoU is that of the labels that leave no pixel out; "MFNet ..." that of the labels that call nine pixels of ten
    "unlabelled". "constant" is the mIoU of one segment.
    """
    model = registry.build(config.model)
    heads = registry.build_heads(config, model)
    abstract = jax.eval_shape(lambda key: nn.unbox(registry.initialise(model, key, heads)), jax.random.key(0))
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), abstract)
    params = checkpoints.load_average(workdir, abstract)
    predict = segments.build_predict(model, heads)
    keys = *MODALITIES, "labels", "dense_labels"
    source = Decoded(config.data.fusion[0].dataset, config.data.data_dir, "test", keys, cache_mb=0)
    scenes = [source[i] for i in range(len(source) // BATCH * BATCH)]
    stacked = {key: np.stack([scene[key] for scene in scenes]) for key in scenes[0]}
    visible, infrared = (np.float32(stacked[m]) / 255 for m in MODALITIES)
    parts = [
        [np.asarray(x) for x in predict(params, visible[i : i + BATCH], infrared[i : i + BATCH], None, None)]
        for i in range(0, len(visible), BATCH)
    ]
    image, *probabilities = (np.concatenate(part) for part in zip(*parts, strict=True))
    dense, sparse = (stacked[key][..., 0].astype(int) for key in ("dense_labels", "labels"))
    scores = segments.judge(probabilities, image, dense)
    scores |= {f"MFNet {k}": v for k, v in segments.judge(probabilities, image, sparse).items() if "miou" in k}
    for name, labels in (("miou_constant", dense), ("MFNet miou_constant", sparse)):
        scores[name] = segments.hungarian_miou(np.zeros_like(labels), labels)
    return scores


def trained(arm: str, seed: int, steps: int, work: pathlib.Path, data_dir: str) -> dict[str, float]:
    """What `judged` says at the end of a run, and the seconds of training."""
    workdir = work / f"{list(ARMS).index(arm)}_{seed}_{steps}"
    config, start = recipe(arm, seed, steps, data_dir), time.perf_counter()
    train.run(config, str(workdir))
    seconds = time.perf_counter() - start
    return judged(config, workdir) | {"seconds": seconds}


def plot(workdir: pathlib.Path) -> pathlib.Path:
    """Draws the weights of the second stage over its steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in read_metrics(workdir) if "weight_fusion" in row]
    figure, (upper, lower) = pyplot.subplots(2, sharex=True, figsize=(7, 4), layout="constrained")
    for name, label in (("fusion", "w_f"), ("consistency", "w_c")):
        upper.plot([row["step"] for row in rows], [row[f"weight_{name}"] for row in rows], label=label)
    lower.plot([row["step"] for row in rows], [row["weight_gradient"] for row in rows], label="alpha g", color="C2")
    for axes in (upper, lower):
        axes.legend(frameon=False)
    lower.set_xlabel("step")
    figure.savefig(workdir / "weights.png", dpi=100)
    return workdir / "weights.png"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/ssvif"))
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--steps", type=int, default=300, help="of a run, both stages together")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--plot", type=pathlib.Path, help="a training workdir")
    args = parser.parse_args()
    if args.plot:
        print(plot(args.plot))
        return
    flags.FLAGS.mark_as_parsed()  # Grain reads a flag
    keys = [{"arm": arm, "seed": seed, "steps": args.steps} for seed in range(args.seeds) for arm in args.arms]
    measure = functools.partial(trained, work=args.work, data_dir=args.data_dir)
    rows = tables.resumed(args.work / "ablation.json", keys, measure)
    rows.sort(key=lambda row: (row["steps"], list(ARMS).index(row["arm"]), row["seed"]))
    print(tables.markdown(rows, DIGITS))


if __name__ == "__main__":
    main()
