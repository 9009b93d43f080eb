"""From a source folder and a layout to examples: which files belong together, and to which split they go."""

import collections
import csv
import dataclasses
import glob
import hashlib
import re
from collections.abc import Callable

from etils import epath

from lure_jax.errors import UserError
from tfds_builders.layouts import Folders, Hashed, Layout, Listed, Lists, Row, SplitRule, Whole

SPLITS = ("train", "val", "test")
OPTIONAL_ROLES = ("labels", "boxes")

# The values of a pattern's placeholders in one path, as sorted (name, value) pairs.
Key = tuple[tuple[str, str], ...]


class DataError(UserError):
    """What the user can put right about the files or the name of a data set; the message is one sentence."""


@dataclasses.dataclass(frozen=True)
class Example:
    """Files of one example: `id` is unique in its split, `paths` maps role -> file."""

    id: str
    paths: dict[str, epath.Path]


def find_layout(row: Row, source: epath.PathLike) -> Layout:
    """The first layout of `row` with files of its first role in `source`, without optional roles that have none.

    Raises:
      DataError: the source is no folder, or holds the files of no layout.
    """
    source = epath.Path(source)
    if not source.is_dir():
        raise DataError(f"Source folder {source} does not exist.")
    for layout in row.layouts:
        found = {role for role, pattern in layout.files.items() if _match(source, pattern, layout.split)}
        if next(iter(layout.files)) in found:
            files = {role: p for role, p in layout.files.items() if role in found or role not in OPTIONAL_ROLES}
            return dataclasses.replace(layout, files=files)
    patterns = " or ".join(next(iter(layout.files.values())) for layout in row.layouts)
    raise DataError(f"Source folder {source} holds no file {patterns}, as data set {row.name!r} needs.")


def find_examples(layout: Layout, source: epath.PathLike) -> dict[str, list[Example]]:
    """The examples of each split that has any, sorted by id.

    Args:
      layout: as found by `find_layout`.
      source: folder that the patterns of the layout are relative to.

    Returns:
      split name (train, val, test) -> examples.

    Raises:
      DataError: a file without its partner, two files for one example, or no split for one; it names the file.
    """
    source = epath.Path(source)
    first, *others = layout.files
    files = {role: _unique(_match(source, pattern, layout.split)) for role, pattern in layout.files.items()}
    examples = {key: {first: path} for key, path in files[first].items()}
    for role in others:
        names = re.findall(r"\{(\w+)\}", layout.files[role])
        parts = {key: tuple(pair for pair in key if pair[0] in names) for key in examples}
        for key, paths in examples.items():
            if parts[key] not in files[role]:
                partner = source / layout.files[role].format(**dict(key))
                raise DataError(f"{paths[first]} has no partner {partner}.")
            paths[role] = files[role][parts[key]]
        for part in files[role].keys() - set(parts.values()):
            partner = layout.files[first].format_map(collections.defaultdict(lambda: "*", part))
            raise DataError(f"{files[role][part]} has no partner {source / partner}.")
    split_of = _split_rule(layout.split, source)
    splits = {split: [] for split in SPLITS}
    for key, paths in sorted(examples.items()):
        name = "_".join(value for field, value in key if field != "split")
        splits[split_of(name, dict(key), paths[first])].append(Example(name, paths))
    return {split: members for split, members in splits.items() if members}


def hashed_split(scene: str) -> str:
    """train, val or test in proportions 80/10/10, the same for a scene wherever and whenever it is asked."""
    bucket = int.from_bytes(hashlib.sha256(scene.encode()).digest()[:4], "big") % 10
    return {8: "val", 9: "test"}.get(bucket, "train")


def _match(source: epath.Path, pattern: str, split: SplitRule) -> list[tuple[Key, epath.Path]]:
    """Files under `source` that fit `pattern`, hidden ones apart."""
    regex = re.escape(pattern).replace(r"\.\*", r"\.[^./]+")
    if isinstance(split, Folders):
        regex = regex.replace(r"\{split\}", f"(?P<split>{'|'.join(map(re.escape, split.names))})")
    regex = regex.replace(r"\{number\}", r"(?P<number>\d+)")
    regex = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", regex)
    found = []
    root = epath.Path(glob.escape(str(source)))  # epath globs over the folder's own name too
    for path in sorted(root.glob(re.sub(r"\{\w+\}", "*", pattern))):
        match = re.fullmatch(regex, path.relative_to(source).as_posix())
        if match and not path.name.startswith("."):
            found.append((tuple(sorted(match.groupdict().items())), path))
    return found


def _unique(matches: list[tuple[Key, epath.Path]]) -> dict[Key, epath.Path]:
    paths = {}
    for key, path in matches:
        if key in paths:
            raise DataError(f"{paths[key]} and {path} have the same stem, so it is not clear which one is meant.")
        paths[key] = path
    return paths


def _split_rule(rule: SplitRule, source: epath.Path) -> Callable[[str, dict[str, str], epath.Path], str]:
    """The rule as a function of an example's id, its placeholder values and its first file."""
    match rule:
        case Whole(split):
            return lambda name, fields, path: split
        case Folders(names, scene):
            return lambda name, fields, path: _held_out(names[fields["split"]], _scene(scene, name, path), names)
        case Hashed(scene):
            return lambda name, fields, path: hashed_split(_scene(scene, name, path))
        case Lists(names):
            table = {word: split for file, split in names.items() for word in _words(source / file)}
            return lambda name, fields, path: _in_list(table, name, path, source, names)
        case Listed(folder, file):
            table = _read_listed(source / file, folder)
            return lambda name, fields, path: _listed(table, name, path, source / file)


def _held_out(split: str, scene: str, names: dict[str, str]) -> str:
    take = split == "train" and "val" not in names.values() and hashed_split(scene) == "val"
    return "val" if take else split


def _scene(regex: str, name: str, path: epath.Path) -> str:
    match = re.fullmatch(regex, name)
    if not match:
        raise DataError(f"{path} names no scene: its stem does not match {regex!r}.")
    return match.group(1)


def _words(file: epath.Path) -> list[str]:
    if not file.exists():
        raise DataError(f"{file} is missing: it says which examples belong to its split.")
    return file.read_text().split()


def _in_list(table: dict[str, str], name: str, path: epath.Path, source: epath.Path, names: dict[str, str]) -> str:
    for word in (name, path.relative_to(source).as_posix()):
        if word in table:
            return table[word]
    raise DataError(f"{path} is in none of {', '.join(names)} in {source}, which assign train, val and test.")


def _listed(table: dict[str, str], name: str, path: epath.Path, file: epath.Path) -> str:
    if name not in table:
        raise DataError(f"{path} has no line in {file}, which assigns train, val and test.")
    return table[name]


def _read_listed(file: epath.Path, folder: str) -> dict[str, str]:
    if not file.exists():
        raise DataError(f"{file} is missing: it assigns the files of {folder} to train, val and test.")
    lines = csv.DictReader(file.read_text().splitlines())
    table = {line["stem"]: line["split"] for line in lines if line["folder"] == folder}
    for stem, split in table.items():
        if split not in SPLITS:
            raise DataError(f"{file} assigns {folder},{stem} to {split!r}, which is not train, val or test.")
    return table
