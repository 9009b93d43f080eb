"""A bucket that is a folder: as strict as an object store, which neither appends nor renames."""

import os
import pathlib

from etils.epath import backend, gpath
from orbax.checkpoint._src.path import gcs_utils
from orbax.checkpoint._src.serialization import tensorstore_utils

PREFIX = "gs://bucket"


class Bucket(backend._OsPathBackend):
    """Objects of gs://bucket as files of a folder; `written` are the names of all that were opened for writing."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.written = folder, []

    def local(self, path) -> str:
        name = os.fspath(path)
        return str(self.folder) + name.removeprefix(PREFIX) if name.startswith(PREFIX) else name

    def open(self, path, mode):
        if "a" in mode or "+" in mode:
            raise OSError(f"{path}: an object can't be appended to.")
        if "w" in mode:
            self.written.append(os.fspath(path))
            os.makedirs(os.path.dirname(self.local(path)), exist_ok=True)  # a bucket knows no folders
        return super().open(self.local(path), mode)

    def rename(self, path, dst):
        raise OSError(f"{path}: an object can't be renamed.")

    replace = rename

    def copy(self, path, dst, overwrite):
        os.makedirs(os.path.dirname(self.local(dst)), exist_ok=True)
        return super().copy(self.local(path), self.local(dst), overwrite)

    def glob(self, path):
        return [name.replace(str(self.folder), PREFIX) for name in super().glob(self.local(path))]

    def walk(self, top, *, top_down=True, on_error=None):
        for root, folders, files in super().walk(self.local(top), top_down=top_down, on_error=on_error):
            yield root.replace(str(self.folder), PREFIX), folders, files

    def makedirs(self, path, **options):
        return super().makedirs(self.local(path), **options)

    def mkdir(self, path, **options):
        return super().mkdir(self.local(path), **options)


def _mapped(name):
    """A method of one path, called with the file's own."""
    return lambda self, path: getattr(backend._OsPathBackend, name)(self, self.local(path))


for _name in ("exists", "isdir", "listdir", "rmtree", "remove", "stat"):
    setattr(Bucket, _name, _mapped(_name))


def mount(monkeypatch, folder: pathlib.Path) -> Bucket:
    """Makes gs://bucket that folder, for etils.epath and for TensorStore, which writes Orbax's arrays itself."""
    bucket = Bucket(folder)
    normalise = tensorstore_utils._normalize_path
    monkeypatch.setitem(gpath._PREFIX_TO_BACKEND, "gs", bucket)
    monkeypatch.setattr(tensorstore_utils, "_use_gcs_driver", lambda directory: False)
    monkeypatch.setattr(tensorstore_utils, "_normalize_path", lambda path: normalise(bucket.local(path)))
    monkeypatch.setattr(gcs_utils, "is_hierarchical_namespace_enabled", lambda path: False)
    return bucket
