"""Alignment of real pairs: native misalignment, and known transforms found again. Needs ../shared/data or --data."""

import csv
import pathlib

import click
import numpy as np

from lure_jax.data import registration
from lure_jax.data.own_pairs import grey, read_frame
from lure_jax.data.registration import Pose, displacement, pose_matrix, register, warp
from lure_jax.data.sources import shared_folder


@click.command()
@click.option("--data", type=click.Path(path_type=pathlib.Path), help="Default: the folder of shared images.")
@click.option("--pairs", default=30, show_default=True, help="Test pairs of each data set.")
def main(data, pairs):
    """Prints a Markdown table of native shifts and one of known transforms found again."""
    data = data or shared_folder()
    print("| data | pairs | median shift, px | within 3 px |\n|---|---|---|---|")
    for name in ("roadscene", "msrs"):
        shifts = []
        for visible, infrared in frames(data, name, pairs):
            pose = register(visible, infrared, search=False).pose
            shifts.append(np.hypot(pose.x, pose.y))
        print(f"| {name} | {len(shifts)} | {np.median(shifts):.2f} | {np.mean(np.array(shifts) < 3):.0%} |", flush=True)
    print("\nroadscene, shifts up to 20 px, scales 0.8 to 1.25, rotations up to 3 degrees; error: mean displacement\n")
    rng, errors, own, trusted, fooled = np.random.default_rng(0), [], [], [], 0
    loaded = frames(data, "roadscene", pairs)
    for number, (visible, infrared) in enumerate(loaded):
        known = Pose(np.exp(rng.uniform(np.log(0.8), np.log(1.25))), *rng.uniform((-3, -20, -20), (3, 20, 20)))
        matrix = pose_matrix(known, visible.shape, infrared.shape)
        found = register(visible, warp(infrared, np.linalg.inv(matrix), infrared.shape))
        native = register(visible, infrared).matrix
        errors.append(displacement(found.matrix, visible.shape, matrix))
        own.append(displacement(found.matrix, visible.shape, matrix @ native))
        trusted.append(found.trusted)
        fooled += register(visible, loaded[(number + 7) % len(loaded)][1]).trusted
    errors, own, trusted = map(np.array, (errors, own, trusted))
    print("| what | value |\n|---|---|")
    print(f"| median error against the known transform, px | {np.median(errors[trusted]):.2f} |")
    print(f"| 90th percentile | {np.percentile(errors[trusted], 90):.2f} |")
    print(f"| median error against it and the pair's own registration, px | {np.median(own[trusted]):.2f} |")
    print(f"| written | {trusted.sum()} of {len(trusted)} |")
    print(f"| written with an error above 5 px | {(errors[trusted] > 5).sum()} |")
    print(f"| flagged with an error below 3 px | {(errors[~trusted] < 3).sum()} |")
    print(f"| pairs of two different scenes taken for one | {fooled} of {len(trusted)} |")
    print(f"\nthresholds: score {registration.MIN_SCORE}, distinctness {registration.MIN_DISTINCTNESS}")


def frames(data: pathlib.Path, name: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first test pairs of a folder of shared images, grey."""
    with open(data / "splits.csv") as file:
        stems = [line["stem"] for line in csv.DictReader(file) if (line["folder"], line["split"]) == (name, "test")]
    return [tuple(grey(read_frame(next((data / name / part).glob(f"{stem}.*")))) for part in ("vi", "ir"))
            for stem in stems[:count]]  # fmt: skip


if __name__ == "__main__":
    main()
