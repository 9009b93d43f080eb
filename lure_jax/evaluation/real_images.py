"""Real images by folder, stem and split, as the `splits.csv` beside them says."""

import csv
import pathlib
from typing import NamedTuple

import numpy as np

from lure_jax.data.catalog import DataError
from lure_jax.inference import images

# Where clean images are: folder -> the part of it. Night frames of msrs are dark as they should be, and clean.
CLEAN = {
    "visible": {
        "restore/clean_cbsd68": "",
        "msrs": "vi",
        "roadscene": "vi",
        "restore/noise_polyu": "clean",
        "restore/lowlight_lol": "high",
    },
    "infrared": {"msrs": "ir", "roadscene": "ir"},
}
ANY_HOUR = "msrs"  # so nothing that changes the exposure is synthesised on it


class DegradedSet(NamedTuple):
    """Visible images with a reference: the folder, its parts of degraded and clean images, and the condition."""

    folder: str
    degraded: str
    reference: str
    condition: str


DEGRADED = {
    "PolyU": DegradedSet("restore/noise_polyu", "noisy", "clean", "noise"),
    "LOL": DegradedSet("restore/lowlight_lol", "low", "high", "low_light"),
    **{f"awfusion {w}": DegradedSet(f"restore/awfusion_{w}_synth", "vi", "gt_vi", w) for w in ("haze", "rain", "snow")},
}


def stems(data: pathlib.Path, folder: str, split: str, limit: int | None = None) -> list[str]:
    """Names of a folder's images in one split, sorted.

    Args:
      data: the folder of real images, with `splits.csv` (columns folder, stem, split) in it.
      folder: as in its first column: "msrs", "restore/noise_polyu".
      split: "train", "val" or "test".
      limit: at most so many, spread evenly over the list.

    Returns:
      Stems; empty where the split has none of that folder.

    Raises:
      DataError: there is no `splits.csv`, or the folder is not in it.
    """
    table = pathlib.Path(data) / "splits.csv"
    if not table.exists():
        raise DataError(f"{table} does not exist: it says which images belong to which split.")
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["folder"] == folder]
    if not rows:
        raise DataError(f"{table} has no row of the folder {folder!r}.")
    return spread(sorted(row["stem"] for row in rows if row["split"] == split), limit)


def spread(items: list, limit: int | None) -> list:
    """At most `limit` of the items, evenly spaced; all of them for None."""
    if limit is None or limit >= len(items):
        return items
    return [items[index * len(items) // limit] for index in range(limit)]


def find(data: pathlib.Path, folder: str, stem: str) -> pathlib.Path:
    """The one image of that stem in a folder; DataError if there is none."""
    found = [path for suffix in images.READ if (path := pathlib.Path(data) / folder / f"{stem}{suffix}").exists()]
    if not found:
        raise DataError(f"{pathlib.Path(data) / folder} holds no image {stem}.*.")
    return found[0]


def read(data: pathlib.Path, folder: str, stem: str, modality: str) -> np.ndarray:
    """One image as uint8, (H,W,3) visible, grey ones too, or (H,W) infrared; DataError or ImageError without it."""
    image = images.read(find(data, folder, stem), modality)
    return np.repeat(image[..., None], 3, -1) if modality == "visible" and image.ndim == 2 else image


def read_split(
    data: pathlib.Path, folder: str, part: str, split: str, modality: str, limit: int | None = None
) -> list[np.ndarray]:
    """All images of a split of a folder, by stem.

    Args:
      data: as in `stems`.
      folder: as in `stems`.
      part: the folder inside it that holds the images ("vi"), or "".
      split: as in `stems`.
      modality: "visible" or "infrared".
      limit: as in `stems`.
    """
    where = f"{folder}/{part}" if part else folder
    return [read(data, where, stem, modality) for stem in stems(data, folder, split, limit)]


def clean_images(
    data: pathlib.Path, split: str, modality: str, limit: int | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """The clean images of a split: folder -> stem -> image, at most `limit` of a folder."""
    return {
        folder: {
            stem: read(data, f"{folder}/{part}", stem, modality) for stem in stems(data, folder, split, limit)
        }
        for folder, part in CLEAN[modality].items()
    }


def degraded_pairs(
    data: pathlib.Path, split: str, name: str, limit: int | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(degraded, reference) of a row of `DEGRADED`; empty where the split has none."""
    row = DEGRADED[name]
    return [
        tuple(read(data, f"{row.folder}/{part}", stem, "visible") for part in (row.degraded, row.reference))
        for stem in stems(data, row.folder, split, limit)
    ]


def registered_pairs(data: pathlib.Path, folder: str, names: list[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Stem -> (visible (H,W,3), infrared (H,W)) of a folder with the parts vi and ir."""
    return {s: (read(data, f"{folder}/vi", s, "visible"), read(data, f"{folder}/ir", s, "infrared")) for s in names}
