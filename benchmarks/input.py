"""Speed of the input pipeline: crops per second by worker count, what it costs per part, bytes on disk.

On a machine that does other things too, look at the crops per second of processor time and at the parts, which are the
shortest of many repeats.
"""

import pathlib
import time

import click
import ml_collections
import numpy as np
from absl import flags

from configs import common
from lure_jax.data import catalog, pipeline, sources
from lure_jax.data.degradations import DEGRADATIONS, degrade
from lure_jax.text.conditions import condition_id


@click.command()
@click.option("--data-dir", required=True, help="Folder of built data sets; what is missing is built.")
@click.option("--workers", default="0,1,2", show_default=True, help="Worker counts.")
@click.option("--seconds", default=20.0, show_default=True, help="Of measurement for each.")
@click.option("--cache-mb", default=2000.0, show_default=True, help="Decoded images kept in each worker.")
def main(data_dir, workers, seconds, cache_mb):
    """128x128 crops of MSRS (640x480), degradations included."""
    flags.FLAGS.mark_as_parsed()
    config = common.lure("tiny", common.REAL_RESTORATION, common.REAL_FUSION)
    only = [row for row in common.REAL_RESTORATION if row.dataset == "msrs"]
    config.data.update(data_dir=data_dir, restoration=tuple(only), fusion=(common.pairs("msrs"),), cache_mb=cache_mb)
    sources.prepare(config)
    folder = pathlib.Path(str(catalog.built_folder("msrs", data_dir)))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"msrs on disk: {size / 1e6:.1f} MB\n\n| pool | workers | crops/s | a processor second | first batch, s |")
    print("|---|---|---|---|---|")
    for pool in ("restoration", "fusion"):
        for count in map(int, workers.split(",")):
            config.data.workers = count
            rate, busy, first = measure(config, pool, seconds)
            alone = "" if count else f"{busy:.0f}"  # workers are other processes
            print(f"| {pool} | {count} | {rate:.0f} | {alone} | {first:.1f} |", flush=True)
    print("\n| part, one core | ms a crop |\n|---|---|")
    source = catalog.open_split("msrs", data_dir, "train")
    print(f"| decode both images | {timed(lambda n: source[n % len(source)]):.2f} |")
    images = [source[0]["visible"], source[0]["infrared"]]
    print(
        f"| crop, flip, turn | {timed(lambda n: pipeline.crop_and_turn(images, 128, np.random.default_rng(n))):.2f} |"
    )
    crops = dict(
        zip(("visible", "infrared"), pipeline.crop_and_turn(images, 128, np.random.default_rng(0)), strict=True)
    )
    for modality, name in DEGRADATIONS:
        ids, crop = [condition_id(modality, name)], crops[modality]
        cost = timed(lambda n, ids=ids, crop=crop: degrade(crop, ids, np.random.default_rng(n)))
        print(f"| {modality} {name} | {cost:.2f} |", flush=True)


def measure(config, pool: str, seconds: float) -> tuple[float, float, float]:
    """Crops per second and per second of this process's time once warm, and seconds until the first batch."""
    stage = ml_collections.ConfigDict(dict(pool=pool, batch=16, crop=128))
    start = time.perf_counter()
    batches = pipeline.make_iterator(config, stage, seed=0)
    next(batches)
    first = time.perf_counter() - start
    for _ in range(100):  # fills the cache of decoded images
        next(batches)
    start, busy, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        count += stage.batch
    return count / (time.perf_counter() - start), count / (time.process_time() - busy), first


def timed(work, seeds: int = 16, repeats: int = 8) -> float:
    """Milliseconds a call: the mean over seeds of the shortest of some repeats."""

    def once(seed: int) -> float:
        start = time.perf_counter()
        work(seed)
        return time.perf_counter() - start

    return 1000 * float(np.mean([min(once(seed) for _ in range(repeats)) for seed in range(seeds)]))


if __name__ == "__main__":
    main()
