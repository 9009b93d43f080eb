"""Data sets on disk as random-access sources of decoded arrays, built first where they are missing."""

import os
import pathlib
import tempfile

import jax
import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from jax.experimental import multihost_utils

from lure_jax.data import catalog
from lure_jax.paths import is_bucket

SYNTHETIC = "synthetic_scenes/"


def shared_folder() -> pathlib.Path | None:
    """The folder of real images, `$LURE_SHARED/data` or `../shared/data` beside the repository, or None."""
    root = os.environ.get("LURE_SHARED", pathlib.Path(__file__).resolve().parents[2].parent / "shared")
    folder = pathlib.Path(root) / "data"
    return folder if folder.is_dir() else None


def prepare(config) -> None:
    """Builds every data set the config's pools name that is not in `config.data.data_dir` yet.

    `synthetic_scenes/...` is rendered; a real one is read from `config.data.source`, or from `shared_folder()`. Of
    several processes the first one builds, and the others wait for it.

    Raises:
      catalog.DataError: if a real data set is missing and there is no folder to build it from.
    """
    if jax.process_index() == 0:
        rows = [*config.data.restoration, *config.data.fusion, *config.data.get("judged", ())]
        for name in sorted({row.dataset for row in rows}):
            _build_missing(name, epath.Path(config.data.data_dir), config.data.source or shared_folder())
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("data sets are built")


def render(name: str, data_dir: epath.PathLike) -> catalog.Summary:
    """Renders the embedded scenes, unless they are there.

    Args:
      name: "synthetic_scenes", or with a size, "synthetic_scenes/large".
      data_dir: folder of built data sets.

    Raises:
      catalog.DataError: there is no such size.
    """
    from tfds_builders.synthetic_scenes import SyntheticScenes

    size = name.partition("/")[2] or "default"
    if size not in SyntheticScenes.builder_configs:
        known = ", ".join(SYNTHETIC + known for known in SyntheticScenes.builder_configs)
        raise catalog.DataError(f"There are no scenes {name!r}: there are {known}.")
    target = epath.Path(data_dir) / "synthetic_scenes" / size
    with tempfile.TemporaryDirectory() as folder:
        place = folder if is_bucket(data_dir) else data_dir
        scenes = SyntheticScenes(config=size, data_dir=place, file_format="array_record")
        if place is data_dir or not (target / str(scenes.version) / catalog.INFO).exists():
            with catalog.quiet_tfds():
                scenes.download_and_prepare()
        if place is not data_dir and epath.Path(scenes.data_dir).exists():
            catalog.upload(epath.Path(scenes.data_dir).parent, target)
    scenes = tfds.builder_from_directory(target / str(scenes.version))
    counts = {split: info.num_examples for split, info in scenes.info.splits.items()}
    return catalog.Summary(SYNTHETIC + size, target / str(scenes.version), counts)


def _build_missing(name: str, data_dir: epath.Path, source: epath.PathLike | None) -> None:
    if name.startswith(SYNTHETIC):
        render(name, data_dir)
        return
    try:
        catalog.open_split(name, data_dir, "train")
    except catalog.DataError:
        if not source:
            raise
        catalog.build(name, source, data_dir)


class Decoded:
    """A source of some features of a data set, decoded images kept in memory up to a budget.

    Args:
      name: of the data set.
      data_dir: folder of built data sets.
      split: of it.
      keys: the features wanted.
      cache_mb: megabytes of decoded arrays to keep; what comes after is decoded each time.
    """

    def __init__(self, name: str, data_dir: epath.PathLike, split: str, keys: tuple[str, ...], cache_mb: float):
        self._source = catalog.open_split(name, data_dir, split)
        self._name, self._keys = name, keys
        self._left = cache_mb * 1e6
        self._cache: dict[int, dict[str, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if index in self._cache:
            return self._cache[index]
        record = self._source[index]
        for key in self._keys:
            if key not in record:
                raise catalog.DataError(f"Data set {self._name!r} has no {key!r}: it has {', '.join(sorted(record))}.")
        element = {key: record[key] for key in self._keys}
        size = sum(value.nbytes for value in element.values())
        if size <= self._left:
            self._left -= size
            self._cache[index] = element
        return element


class Endless:
    """A source repeated for ever, each time in another order, which the seed and the number of the round decide.

    Grain's own shuffle walks through 2^16 indices until it meets one of the data set: 11 ms a sample for four images.

    Args:
      source: has a length and random access.
      seed: of the orders.
    """

    def __init__(self, source: Decoded, seed: int):
        self._source, self._seed = source, seed
        self._round, self._order = -1, np.arange(0)

    def __len__(self) -> int:
        return 2**62 // len(self._source) * len(self._source)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        number, place = divmod(index, len(self._source))
        if number != self._round:
            rng = np.random.default_rng([self._seed, number])
            self._round, self._order = number, rng.permutation(len(self._source))
        return self._source[int(self._order[place])]
