"""Local and bucket paths."""

import os

from etils import epath


def absolute(path: epath.PathLike) -> epath.Path:
    """The path as Orbax wants it: a local one absolute, a bucket's ("gs://...") as it is."""
    name = os.fspath(path)
    return epath.Path(name) if "://" in name else epath.Path(os.path.abspath(name))
