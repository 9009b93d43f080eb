"""Recorded scores of other methods, image by image, from a folder beside the real images."""

import csv
import pathlib
from collections.abc import Mapping

from lure_jax.data.catalog import DataError
from lure_jax.evaluation.fusion import Scores

FOLDERS = {"msrs": "msrs", "roadscene": "roadscene", "tno": "tno_masks", "llvip": "llvip"}  # set -> folder of pairs
Recorded = dict[str, dict[str, dict[str, Scores]]]  # set -> method -> image -> scores


def read_recorded(folder: pathlib.Path) -> Recorded:
    """Reads `per_image.csv` (columns set, image, method, and metrics).

    Args:
      folder: that holds it.

    Raises:
      DataError: there is none, or a value is no number.
    """
    path = pathlib.Path(folder) / "per_image.csv"
    if not path.exists():
        raise DataError(f"{path} does not exist: it holds the recorded scores of other methods.")
    recorded: Recorded = {}
    with path.open(newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            key = row.pop("set"), row.pop("method"), row.pop("image")
            try:
                scores = {name: float(value) for name, value in row.items() if value}
            except ValueError as error:
                raise DataError(f"{path}, line {line}: {error}.") from error
            recorded.setdefault(key[0], {}).setdefault(key[1], {})[key[2]] = scores
    return recorded


def image_names(recorded: Mapping[str, Mapping[str, Scores]]) -> list[str]:
    """The images of a set that every method of it has, sorted."""
    return sorted(set.intersection(*(set(images) for images in recorded.values())))
