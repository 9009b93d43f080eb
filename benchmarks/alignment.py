"""Alignment of real pairs: native misalignment, and known transforms found again. Needs ../shared/data or --data."""

import csv
import pathlib

import click
import numpy as np

from lure_jax.data import registration
from lure_jax.data.own_pairs import grey, inner_rectangle, read_frame
from lure_jax.data.registration import (
    Pose,
    Registration,
    content_mask,
    displacement,
    gradient_field,
    pose_matrix,
    register,
    warp,
)
from lure_jax.data.sources import shared_folder

BLOCK, REACH = 96, 8  # pixels of the blocks whose own shifts are measured, and how far


@click.command()
@click.option("--data", type=click.Path(path_type=pathlib.Path), help="Default: the folder of shared images.")
@click.option("--split", default="test", show_default=True, help="The thresholds of trust were chosen on val.")
@click.option("--pairs", default=30, show_default=True, help="Pairs of each data set.")
def main(data, split, pairs):
    """Prints a Markdown table of native shifts and one of known transforms found again."""
    data = data or shared_folder()
    print("| data | pairs | median shift, px | within 3 px |\n|---|---|---|---|")
    for name in ("roadscene", "msrs"):
        shifts = []
        for visible, infrared in frames(data, name, split, pairs):
            pose = register(visible, infrared, search=False).pose
            shifts.append(np.hypot(pose.x, pose.y))
        print(f"| {name} | {len(shifts)} | {np.median(shifts):.2f} | {np.mean(np.array(shifts) < 3):.0%} |", flush=True)
    print("\nroadscene, shifts up to 20 px, scales 0.8 to 1.25, rotations up to 3 degrees")
    print("error: mean displacement in visible pixels over what `lure data align` writes\n")
    rng, found, trusted, fooled = np.random.default_rng(0), [], [], 0
    loaded = frames(data, "roadscene", split, pairs)
    for number, (visible, infrared) in enumerate(loaded):
        known = Pose(np.exp(rng.uniform(np.log(0.8), np.log(1.25))), *rng.uniform((-3, -20, -20), (3, 20, 20)))
        matrix = pose_matrix(known, visible.shape, infrared.shape)
        moved = warp(infrared, np.linalg.inv(matrix), infrared.shape)
        one = register(visible, moved)
        native = register(visible, infrared)
        trusted.append((one.trusted, native.trusted))
        shape, corner = written_area(one, moved, visible.shape)
        found.append([
            displacement(np.linalg.inv(matrix) @ one.matrix @ corner, shape, corner),
            displacement(np.linalg.inv(matrix @ native.matrix) @ one.matrix @ corner, shape, corner),
            block_shift(visible, infrared),
            block_shift(visible, warp(infrared, native.matrix, visible.shape)),
        ])  # fmt: skip
        fooled += register(visible, loaded[(number + 7) % len(loaded)][1]).trusted
        told = ", ".join(f"{value:.2f}" for value in found[-1])
        click.echo(f"{number + 1} of {len(loaded)}: {told}; trusted {one.trusted}", err=True)
    report(np.array(found), np.array(trusted), fooled)


def written_area(found: Registration, infrared: np.ndarray, visible: tuple[int, int]):
    """(height, width) of what `lure data align` would write, and the matrix from its pixels to the visible image's."""
    mask = warp(content_mask(infrared), found.matrix, visible) > 0.99
    top, left, height, width = inner_rectangle(mask)
    return (height, width), np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])


def report(found: np.ndarray, trusted: np.ndarray, fooled: int) -> None:
    """The second table, of (error, error net of the pair's own, own block shift, and that once registered) a pair."""
    written, both = trusted[:, 0], trusted.all(1)
    (error, _, own, _), (_, net, _, after) = found[written].T, found[both].T
    well = error[own <= np.nanmedian(own)]
    print("| what | value |\n|---|---|")
    print(f"| written; flagged | {written.sum()}; {(~written).sum()} |")
    print(f"| error of the written against the known transform: median, 90 % | {spread(error)} |")
    print(f"| of the half of them whose own misalignment is least, by block shift | {spread(well)} |")
    print(f"| against it and the undisturbed pair's registration | {spread(net)}; largest {net.max():.2f} |")
    print(f"| block shift of the undisturbed pairs: as they are | {spread(found[both][:, 2])} |")
    print(f"| and once registered | {spread(after)} |")
    print(f"| written with an error above 5 px; above 5 px from both | {(error > 5).sum()}; {(net > 5).sum()} |")
    print(f"| flagged with an error below 3 px | {(found[~written, 0] < 3).sum()} |")
    print(f"| pairs of two different scenes taken for one | {fooled} of {len(found)} |")
    print(f"\nthresholds: score {registration.MIN_SCORE}, distinctness {registration.MIN_DISTINCTNESS}")


def spread(values: np.ndarray) -> str:
    """Median and 90th percentile, of what is a number."""
    return ", ".join(f"{value:.2f}" for value in np.nanpercentile(values, (50, 90)))


def block_shift(visible: np.ndarray, infrared: np.ndarray) -> float:
    """Median length, px, of the shifts of blocks that show a clear one; NaN without any. Fits no transform."""
    fields = [gradient_field(image, np.ones_like(image)) for image in (visible, infrared)]
    height, width = visible.shape
    found = []
    for y in range(REACH, height - BLOCK - REACH + 1, BLOCK // 2):
        for x in range(REACH, width - BLOCK - REACH + 1, BLOCK // 2):
            one = fields[0][y : y + BLOCK, x : x + BLOCK]
            wide = fields[1][y - REACH : y + BLOCK + REACH, x - REACH : x + BLOCK + REACH]
            scores = np.array([[alike(one, wide[i : i + BLOCK, j : j + BLOCK]) for j in range(2 * REACH + 1)]
                               for i in range(2 * REACH + 1)])  # fmt: skip
            row, column = np.unravel_index(scores.argmax(), scores.shape)
            rest = scores.copy()
            rest[max(0, row - 3) : row + 4, max(0, column - 3) : column + 4] = 0
            if scores.max() > max(0.25, 1.4 * rest.max()) and {row, column}.isdisjoint({0, 2 * REACH}):
                found.append(np.hypot(row - REACH, column - REACH))
    return float(np.median(found)) if found else np.nan


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Normalised correlation of two gradient fields."""
    return float(np.vdot(one, other).real / np.sqrt(np.vdot(one, one).real * np.vdot(other, other).real + 1e-6))


def frames(data: pathlib.Path, name: str, split: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first pairs of a split of a folder of shared images, grey."""
    with open(data / "splits.csv") as file:
        stems = [line["stem"] for line in csv.DictReader(file) if (line["folder"], line["split"]) == (name, split)]
    return [tuple(grey(read_frame(next((data / name / part).glob(f"{stem}.*")))) for part in ("vi", "ir"))
            for stem in stems[:count]]  # fmt: skip


if __name__ == "__main__":
    main()
