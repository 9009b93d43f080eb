"""What a recipe draws, and its training images packed small: behind `lure data stats` and `lure data pack`."""

import io
import uuid
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from PIL import Image

from lure_jax.data import catalog, pipeline
from lure_jax.data.catalog import DataError
from lure_jax.data.sources import SYNTHETIC


class Line(NamedTuple):
    """One line of the statistics: `images` in the train split of `dataset`, drawn with probability `share`."""

    pool: str
    modality: str
    condition: str
    dataset: str
    real: bool
    images: int
    share: float


class Packed(NamedTuple):
    """What was packed of a data set: crops, and megabytes of encoded images."""

    dataset: str
    crops: int
    megabytes: float


def stats(config) -> list[Line]:
    """Every part of the pools that the config's stages use, with the share of its pool's samples.

    The condition is the first one of a sample; `config.data.two_conditions` of the synthetic ones get another.

    Raises:
      DataError: a data set is not built.
    """
    used = {config.stages[name].pool for name in config.recipe}
    lines = []
    if "restoration" in used:
        for row, condition, weight in pipeline.restoration_parts(config.data):
            images = _count(config, row.dataset)
            lines.append(Line("restoration", row.modality, condition, row.dataset, row.real, images, weight))
    if "fusion" in used:
        for row, _, weight in pipeline.fusion_parts(config.data):
            offered = ", ".join(row.visible_conditions)
            lines.append(Line("fusion", "both", offered, row.dataset, False, _count(config, row.dataset), weight))
    return lines


def pack(config, output: epath.PathLike, max_mb: float, *, seed: int = 0) -> list[Packed]:
    """Writes the train split of a recipe's data sets as crops, for `config.data.data_dir=OUTPUT` on another machine.

    Every image gives one random crop, then every image another, until the budget is spent. A crop is a quarter larger
    than the recipe's largest, so that random crops remain. Rendered data sets are left out: they are rendered there.

    Args:
      config: the recipe.
      output: folder of data sets to make; nothing is left of a failed run.
      max_mb: megabytes of encoded images (lossless).
      seed: of the crops.

    Raises:
      DataError: a data set is not built, the output exists, or the budget is below one crop of every data set.
    """
    output = epath.Path(output)
    if output.exists():
        raise DataError(f"{output} already exists: pack into a new folder.")
    side = int(1.25 * max(config.stages[name].crop for name in config.recipe)) // 8 * 8
    wanted = _wanted(config)
    if not wanted:
        raise DataError("The recipe reads rendered data sets alone: there is nothing to pack.")
    sources = {name: catalog.open_split(name, config.data.data_dir, "train") for name in wanted}
    chosen = _fill(sources, wanted, side, max_mb * 1e6, seed)
    missing = [name for name, examples in chosen.items() if not examples]
    if missing:
        raise DataError(f"{max_mb:g} MB are too few: nothing of {', '.join(missing)} would fit.")
    workshop = output.parent / f".packing-{uuid.uuid4().hex[:8]}"
    try:
        for name, examples in chosen.items():
            built = catalog.built_folder(name, config.data.data_dir)
            _write(examples, workshop / "tfds", built.parent.name)
            target = workshop / "out" / built.parent.relative_to(epath.Path(config.data.data_dir))
            target.parent.mkdir(parents=True, exist_ok=True)
            (workshop / "tfds" / Crops.name / built.parent.name).rename(target)
        (workshop / "out").rename(output)
    finally:
        if workshop.exists():
            workshop.rmtree()
    return [Packed(name, len(ex), sum(_bytes(e) for e in ex.values()) / 1e6) for name, ex in chosen.items()]


class Crops(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """TFDS builder of examples that are there already: id -> feature -> encoded image."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, examples: Mapping[str, Mapping[str, bytes]], **kwargs):
        self._examples = examples
        super().__init__(**kwargs)

    def _info(self):
        first = next(iter(self._examples.values()))
        images = {key: tfds.features.Image(shape=(None, None, _channels(key))) for key in first}
        features = tfds.features.FeaturesDict({"id": tfds.features.Text()} | images)
        return self.dataset_info_from_configs(description="Crops of a train split.", features=features)

    def _split_generators(self, dl_manager):
        del dl_manager
        return {"train": ((name, {"id": name} | dict(images)) for name, images in self._examples.items())}

    def _generate_examples(self):
        raise NotImplementedError


def _channels(key: str) -> int:
    return 1 if key in ("infrared", "labels") else 3


def _count(config, name: str) -> int:
    return len(catalog.open_split(name, config.data.data_dir, "train"))


def _wanted(config) -> dict[str, set[str]]:
    """Data set -> the images that the recipe reads of it, rendered sets apart."""
    used = {config.stages[name].pool for name in config.recipe}
    reads = [(row.dataset, pipeline.restoration_keys(row)) for row in config.data.restoration if "restoration" in used]
    reads += [(row.dataset, pipeline.fusion_keys(row)) for row in config.data.fusion if "fusion" in used]
    wanted = {}
    for name, keys in reads:
        if not name.startswith(SYNTHETIC):
            wanted.setdefault(name, set()).update(keys)
    return wanted


def _fill(sources, wanted, side: int, budget: float, seed: int) -> dict[str, dict[str, dict[str, bytes]]]:
    """Data set -> id -> feature -> encoded crop, in rounds over all images in random order."""
    rng = np.random.default_rng(seed)
    chosen = {name: {} for name in wanted}
    for number in range(1000):  # a budget above a thousand crops of everything is no budget
        places = [(name, index) for name, source in sources.items() for index in range(len(source))]
        for place in rng.permutation(len(places)):
            name, index = places[place]
            record = sources[name][index]
            crops = _crops([record[key] for key in sorted(wanted[name])], side, rng)
            if crops is None and number:  # the whole image is there already
                continue
            images = dict(zip(sorted(wanted[name]), map(_encoded, crops or _whole(record, wanted[name])), strict=True))
            budget -= _bytes(images)
            if budget < 0:
                return chosen
            chosen[name][f"{record['id'].decode()}_{number}"] = images
    return chosen


def _crops(images: list[np.ndarray], side: int, rng: np.random.Generator) -> list[np.ndarray] | None:
    """The same random square of registered images; None if they are no larger."""
    height, width = images[0].shape[:2]
    if height <= side and width <= side:
        return None
    top, left = (int(rng.integers(0, max(0, length - side) + 1)) for length in (height, width))
    return [image[top : top + side, left : left + side] for image in images]


def _whole(record, keys: set[str]) -> Iterator[np.ndarray]:
    return (record[key] for key in sorted(keys))


def _encoded(image: np.ndarray) -> bytes:
    """Lossless: WebP of colour, PNG of grey, which WebP would store as colour."""
    buffer = io.BytesIO()
    if image.shape[-1] == 1:
        Image.fromarray(image[..., 0]).save(buffer, "PNG", optimize=True)
    else:
        Image.fromarray(image).save(buffer, "WEBP", lossless=True, quality=50)
    return buffer.getvalue()


def _bytes(images: Mapping[str, bytes]) -> int:
    return sum(map(len, images.values()))


def _write(examples, data_dir: epath.Path, name: str) -> None:
    config = tfds.core.BuilderConfig(name=name)
    with catalog.quiet_tfds():
        Crops(examples=examples, config=config, data_dir=data_dir, file_format="array_record").download_and_prepare()
