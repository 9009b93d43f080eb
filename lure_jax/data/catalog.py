"""Building, listing and opening data sets on disk: what is behind `lure data build` and `lure data list`."""

import contextlib
import dataclasses
import hashlib
import io
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import tensorflow_datasets as tfds
from absl import logging
from etils import epath

from lure_jax.data import tonemap
from lure_jax.paths import is_bucket
from lure_jax.text.conditions import INFRARED, VISIBLE
from tfds_builders.files import DataError
from tfds_builders.layouts import Folders, Hashed, Layout, RestorationRow, Row
from tfds_builders.pairs import Pairs
from tfds_builders.restoration import Restoration

__all__ = ["DataError", "Entry", "Source", "Summary", "build", "listing", "open_split"]

INFO = "dataset_info.json"  # what makes a folder a built data set
BUILDERS = {"pairs": Pairs, "restoration": Restoration}
CONDITION_NAMES = {"visible": VISIBLE, "infrared": INFRARED}


class Entry(NamedTuple):
    """A row of the layout table: its name for `build`, the builder it belongs to, and the row itself."""

    name: str
    builder: str
    row: Row


class Summary(NamedTuple):
    """What was built: name, folder, and the number of examples of each split."""

    name: str
    path: epath.Path
    counts: dict[str, int]


class Source(Protocol):
    """Random access to the examples of a split, with pictures as uint8 (H,W,C) and texts as bytes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]: ...


def listing() -> list[Entry]:
    """All rows of the layout table, in its order."""
    rows = [(kind, row) for kind, builder in BUILDERS.items() for row in builder.BUILDER_CONFIGS]
    names = [row.name for _, row in rows]
    return [Entry(row.name if names.count(row.name) == 1 else f"{kind}/{row.name}", kind, row) for kind, row in rows]


def build(
    name: str,
    source: epath.PathLike,
    data_dir: epath.PathLike,
    *,
    save_as: str | None = None,
    modality: str | None = None,
    condition: str | None = None,
    files: Mapping[str, str] | None = None,
    tone: str = "percentile",
    overwrite: bool = False,
) -> Summary:
    """Builds one row of the layout table into `data_dir`, in array_record; a failed build leaves nothing.

    Args:
      name: as in `listing`, e.g. "msrs", "lol", "pairs/folders".
      source: folder with the files, in a layout of the row.
      data_dir: folder (or bucket path) of built data sets.
      save_as: name in data_dir, default the row's; needed with the next three.
      modality: of a restoration row's images, "visible" or "infrared"; default the row's.
      condition: what a restoration row's degraded images suffer from; default the row's.
      files: role -> path pattern, where the files are named otherwise than in the row's first layout (tfds_builders
        .layouts.Layout); a pattern without {split} makes the split a stable hash, unless lists say it.
      tone: how images of more than 8 bits become 8: "percentile", "plateau" or "LOW:HIGH" in stored values.
      overwrite: replace the data set if it is already built.

    Raises:
      DataError: a wrong name or choice, already built, or files missing, unreadable or not matching.
    """
    entry = _find_entry(name)
    if files and save_as in (None, entry.row.name):
        raise DataError(f"Save {entry.name!r} under a name of its own, as you choose its files.")
    row = _adapted(entry, save_as, modality, condition)
    row = _with_files(row, files) if files else row
    tonemap.fit(tone)
    data_dir = epath.Path(data_dir)
    target = data_dir / entry.builder / row.name
    if target.exists() and not overwrite:
        raise DataError(f"{target} is already built: overwrite it, or save under another name.")
    place = epath.Path(tempfile.gettempdir()) if is_bucket(data_dir) else data_dir
    workshop = place / f".building-{uuid.uuid4().hex[:8]}"
    try:
        with quiet_tfds():
            builder = BUILDERS[entry.builder](
                source=source, tone=tone, config=row, data_dir=workshop, file_format="array_record"
            )
            builder.download_and_prepare()
        counts = {split: info.num_examples for split, info in builder.info.splits.items()}
        made = workshop / entry.builder / row.name
        if is_bucket(target):
            upload(made, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rename(workshop / "replaced")
            made.rename(target)
    finally:
        if workshop.exists():
            workshop.rmtree()
    return Summary(row.name, target, counts)


def open_split(name: str, data_dir: epath.PathLike, split: str) -> Source:
    """Opens one split of a built data set; nothing is read but its description.

    Args:
      name: as given to `build`, or its `save_as`; any TFDS data set prepared in array_record by its path in data_dir.
      data_dir: folder of built data sets.
      split: train, val, test, or what TFDS makes of them: "train[:10%]", "train+val".

    Raises:
      DataError: not built yet, or no such split.
    """
    builder = tfds.builder_from_directory(at_hand(built_folder(name, data_dir)))
    for part in split.split("+"):
        if part.split("[")[0].strip() not in builder.info.splits:
            known = ", ".join(builder.info.splits)
            raise DataError(f"Data set {name!r} in {data_dir} has the splits {known}, but not {part!r}.")
    return builder.as_data_source(split=split)


@contextlib.contextmanager
def quiet_tfds():
    """Keeps TFDS from printing the temporary folder and warning of named rows; bars are for terminals only."""
    tfds.display_progress_bar(sys.stderr.isatty())
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def built_folder(name: str, data_dir: epath.PathLike) -> epath.Path:
    """The folder of the newest version of a built data set; DataError if there is none or more than one of the name."""
    data_dir = epath.Path(data_dir)
    folders = (data_dir / name, *(data_dir / kind / name for kind in BUILDERS))
    versions = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    built = [path for path in versions if path.name[0].isdigit() and (path / INFO).exists()]
    if not built:
        raise DataError(
            f"Data set {name!r} is not built in {data_dir}: "
            f"run `lure data build {name} --source DIR --data-dir {data_dir}`."
        )
    if len({path.parent for path in built}) > 1:
        raise DataError(f"{name!r} is ambiguous in {data_dir}: say pairs/{name} or restoration/{name}.")
    return max(built, key=lambda path: [int(part) for part in path.name.split(".")])


def at_hand(folder: epath.Path) -> epath.Path:
    """The folder of a built data set, or its copy in the cache if it is in a bucket: array_record reads disks alone."""
    if not is_bucket(folder):
        return folder
    cache = epath.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lure_jax" / "data"
    version = hashlib.sha256((folder / INFO).read_bytes()).hexdigest()[:12]
    copy = cache / folder.parent.name / version
    if copy.exists():
        return copy
    draft = copy.with_name(f".{version}-{uuid.uuid4().hex[:8]}")
    draft.mkdir(parents=True)
    for file in folder.iterdir():
        _copy(file, draft / file.name)
    try:
        draft.rename(copy)
    except OSError:  # another process of this machine was first
        draft.rmtree()
    return copy


def upload(made: epath.Path, target: epath.Path) -> None:
    """Copies a data set with its versions into a bucket, in the place of what is there; each version's `INFO` last."""
    if target.exists():
        target.rmtree()
    for version in made.iterdir():
        for file in sorted(version.iterdir(), key=lambda file: file.name == INFO):
            _copy(file, target / version.name / file.name)


def _copy(file: epath.Path, target: epath.Path) -> None:
    with file.open("rb") as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)


def _find_entry(name: str) -> Entry:
    entries = [entry for entry in listing() if name in (entry.row.name, f"{entry.builder}/{entry.row.name}")]
    if not entries:
        known = ", ".join(entry.name for entry in listing())
        raise DataError(f"There is no data set {name!r}: there are {known}.")
    if len(entries) > 1:
        raise DataError(f"{name!r} is ambiguous: say {' or '.join(entry.name for entry in entries)}.")
    return entries[0]


def _with_files(row: Row, files: Mapping[str, str]) -> Row:
    """A copy of the row with one layout, the first one with these patterns in it."""
    layout = row.layouts[0]
    known = {"degraded", "reference"} if isinstance(row, RestorationRow) else {"visible", "infrared", "labels", "boxes"}
    for role in files:
        if role not in known:
            raise DataError(f"{role!r} is no role of {row.name!r}: its files are {', '.join(sorted(known))}.")
    patterns = {**layout.files, **files}
    by_folder = isinstance(layout.split, Folders) and "{split}" not in next(iter(patterns.values()))
    split = Hashed() if by_folder else layout.split
    return dataclasses.replace(row, layouts=(Layout(patterns, split),), channels={})


def _adapted(entry: Entry, save_as: str | None, modality: str | None, condition: str | None) -> Row:
    """The row itself, or a copy under the user's name with the user's modality and condition."""
    row = entry.row
    changes = {"modality": modality, "condition": condition}
    changes = {key: value for key, value in changes.items() if value is not None}
    if changes and entry.builder != "restoration":
        raise DataError(f"{entry.name!r} holds pairs, which have no {' or '.join(changes)} to choose.")
    if changes and save_as in (None, row.name):
        raise DataError(f"Save {entry.name!r} under a name of its own, as you choose its {' and '.join(changes)}.")
    if save_as is not None and not re.fullmatch(r"\w[\w.-]*", save_as):
        raise DataError(f"{save_as!r} can't name a data set: use letters, digits, '_', '-' and '.'.")
    if save_as not in (None, row.name):
        if any(save_as == other.row.name and entry.builder == other.builder for other in listing()):
            raise DataError(f"{save_as!r} is the name of another data set of the table.")
        row = dataclasses.replace(row, name=save_as, **changes)
    if entry.builder == "restoration":
        known = CONDITION_NAMES.get(row.modality)
        if known is None:
            raise DataError(f"Modality {row.modality!r} is neither visible nor infrared.")
        if row.condition not in known:
            raise DataError(f"Condition {row.condition!r} of {row.modality} images is none of {', '.join(known)}.")
    return row
