"""Synthetic noise against PolyU's real noise, synthetic low light against LOL's: levels, correlation, histograms."""

import click
import numpy as np
from absl import flags

from lure_jax.data import catalog
from lure_jax.data.degradations import degrade
from lure_jax.data.sources import shared_folder
from lure_jax.text.conditions import condition_id

BINS = np.linspace(0, 1, 9)
DARK = np.array([0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3])  # of low light


@click.command()
@click.option("--data-dir", required=True, help="Folder of built data sets; what is missing is built.")
@click.option("--split", default="train", show_default=True)
def main(data_dir, split):
    """Prints Markdown tables; standard deviations in units of 255."""
    flags.FLAGS.mark_as_parsed()
    for name in ("polyu", "lol"):
        try:
            catalog.open_split(name, data_dir, split)
        except catalog.DataError:
            catalog.build(name, shared_folder(), data_dir)
    noise(data_dir, split)
    low_light(data_dir, split)


def noise(data_dir: str, split: str) -> None:
    """Noise level function, its spread over images, and correlation between neighbours, real and synthetic."""
    real, made, levels = [], [], {"real": [], "synthetic": []}
    for number, (degraded, reference) in enumerate(pairs(data_dir, "polyu", split)):
        synthetic = degrade(reference, [condition_id("visible", "noise")], np.random.default_rng(number))
        for kind, image, kept in (("real", degraded, real), ("synthetic", synthetic, made)):
            residual = image - reference
            levels[kind].append(255 * residual.std())
            kept.append((reference, residual))
    print("| noise | sd of an image: 10 %, median, 90 % | correlation at 1 px | at 4 px | between channels |")
    print("|---|---|---|---|---|")
    for kind, kept in (("PolyU", real), ("synthetic", made)):
        low, middle, high = np.percentile(levels["real" if kept is real else "synthetic"], (10, 50, 90))
        near, far = (np.mean([neighbours(residual, distance) for _, residual in kept]) for distance in (1, 4))
        between = np.mean([channels(residual) for _, residual in kept])
        print(f"| {kind} | {low:.1f}, {middle:.1f}, {high:.1f} | {near:.2f} | {far:.2f} | {between:.2f} |")
    inside = np.mean((np.array(levels["real"]) >= 1) & (np.array(levels["real"]) <= 55))
    print(f"\nreal images whose level lies within what is synthesised: {inside:.0%}\n")
    print("noise level function: sd relative to the image's own, by brightness\n")
    print("| brightness | " + " | ".join(f"{a:.2f}" for a in (BINS[:-1] + BINS[1:]) / 2) + " |\n|" + "---|" * len(BINS))
    for kind, kept in (("PolyU", real), ("synthetic", made)):
        print(f"| {kind} | " + " | ".join(f"{value:.2f}" for value in level_function(kept)) + " |")


def low_light(data_dir: str, split: str) -> None:
    """Brightness and gain of low light, and the noise that is left once it is taken out, real and synthetic."""
    print("\n| low light | mean: 10 %, median, 90 % | gain in linear light: 10 %, median, 90 % | high-pass sd |")
    print("|---|---|---|---|")
    rows = {"LOL": [], "synthetic": []}
    histograms, grains_by = {"LOL": [], "synthetic": []}, {"LOL": [], "synthetic": []}
    for number, (degraded, reference) in enumerate(pairs(data_dir, "lol", split)):
        for draw in range(8):
            rng = np.random.default_rng([number, draw])
            synthetic = degrade(reference, [condition_id("visible", "low_light")], rng)
            for kind, image in (("LOL", degraded), ("synthetic", synthetic)):
                gain = (image**2.2).mean() / (reference**2.2).mean()
                grain = 255 * np.diff(image, 2, axis=1).std() / np.sqrt(6)
                rows[kind].append((image.mean(), gain, grain))
                histograms[kind].append(np.histogram(image, 32, (0, 1))[0] / image.size)
                grains_by[kind].append(dark_level_function(image))
    for kind, values in rows.items():
        means, gains, grains = np.array(values).T
        told = [", ".join(f"{v:.3f}" for v in np.percentile(part, (10, 50, 90))) for part in (means, gains)]
        print(f"| {kind} | {told[0]} | {told[1]} | {np.median(grains):.1f} |")
    means = [np.mean(histograms[kind], 0) for kind in histograms]
    print(f"\nintersection of the mean brightness histograms: {np.minimum(*means).sum():.2f}")
    print("\nnoise level function of the dark images: sd of the high-pass by brightness\n")
    print("| brightness | " + " | ".join(f"{a:.3f}" for a in (DARK[:-1] + DARK[1:]) / 2) + " |\n|" + "---|" * len(DARK))
    for kind, table in grains_by.items():
        print(f"| {kind} | " + " | ".join(f"{value:.1f}" for value in np.nanmedian(table, 0)) + " |")


def pairs(data_dir: str, name: str, split: str):
    """(degraded, reference) in [0,1]."""
    for example in catalog.open_split(name, data_dir, split):
        yield tuple(example[key].astype(np.float32) / 255 for key in ("degraded", "reference"))


def neighbours(residual: np.ndarray, distance: int) -> float:
    """Correlation of values of a channel so many pixels apart horizontally."""
    centred = residual - residual.mean((0, 1))
    return float((centred[:, distance:] * centred[:, :-distance]).mean() / (centred**2).mean())


def channels(residual: np.ndarray) -> float:
    """Mean correlation of two channels of a pixel."""
    return float(np.corrcoef(residual.reshape(-1, 3).T)[np.triu_indices(3, 1)].mean())


def dark_level_function(image: np.ndarray) -> np.ndarray:
    """Sd of second differences in each dark bin, from the 70 % nearest to 0 (edges left out) as of a normal law."""
    difference = np.abs(np.diff(np.round(255 * image), 2, axis=1)) / np.sqrt(6)
    place = np.digitize(image[:, 1:-1], DARK) - 1
    values = [difference[place == index] for index in range(len(DARK) - 1)]
    low = [np.sort(v)[: int(0.7 * v.size)] if v.size > 2000 else np.array([np.nan]) for v in values]
    return np.array([np.sqrt((v**2).mean()) / 0.5565 for v in low])


def level_function(kept: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Median over images of the residual's sd in each brightness bin over its overall sd."""
    table = np.full((len(kept), len(BINS) - 1), np.nan)
    for row, (reference, residual) in zip(table, kept, strict=True):
        place = np.digitize(reference, BINS[1:-1])
        for index in range(len(row)):
            values = residual[place == index]
            row[index] = values.std() / residual.std() if values.size > 2000 else np.nan
    return np.nanmedian(table, 0)


if __name__ == "__main__":
    main()
