"""Local and bucket paths."""

import os

from etils import epath


def is_bucket(path: epath.PathLike) -> bool:
    """Whether a path is an object store's ("gs://..."), where nothing is renamed and nothing appended."""
    return "://" in os.fspath(path)


def absolute(path: epath.PathLike) -> epath.Path:
    """The path as Orbax wants it: a local one absolute, a bucket's ("gs://...") as it is."""
    return epath.Path(path) if is_bucket(path) else epath.Path(os.path.abspath(path))
