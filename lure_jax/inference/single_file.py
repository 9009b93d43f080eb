"""A released model as one .safetensors file: its parameters are tensors, its description is in the metadata."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lure_jax.errors import UserError

SUFFIX = ".safetensors"
_METADATA = "lure_jax"  # one key: several would be written in no fixed order, and equal models make equal files
_PROMPTS = "prompts.npz"  # the file of a model's folder, as bytes


def write(path: os.PathLike, params: Any, config: Mapping[str, Any], prompts: bytes = b"", licence: str = "") -> None:
    """Writes a model; equal models make equal bytes.

    Args:
      path: local file, replaced when the new one is complete.
      params: nested dicts of arrays; stored in their own type as "encoder.stem.kernel" and so on.
      config: the description that a model's folder has as config.json.
      prompts: the encoded prompts of a model whose text source is "clip".
      licence: of the weights.
    """
    path = pathlib.Path(path)
    tensors = {name: np.ascontiguousarray(leaf) for name, leaf in flatten_dict(params, sep=".").items()}
    if prompts:
        tensors[_PROMPTS] = np.frombuffer(prompts, np.uint8)
    metadata = {_METADATA: json.dumps({"config": config, "licence": licence})}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.writing")
    draft.write_bytes(save(tensors, metadata))
    draft.replace(path)


class SingleFile:
    """Reads what `write` wrote.

    Args:
      path: local file.

    Raises:
      UserError: it is no safetensors file, or not of one of our models.
    """

    def __init__(self, path: os.PathLike):
        self.origin = f"the metadata of {os.fspath(path)}"
        try:
            self._file = safe_open(os.fspath(path), framework="np")
        except (SafetensorError, OSError) as error:
            raise UserError(f"{os.fspath(path)} is not a readable .safetensors file ({error}).") from error
        metadata = self._file.metadata() or {}
        if _METADATA not in metadata:
            raise UserError(
                f"{os.fspath(path)} is not a lure-jax model: its metadata lacks {_METADATA!r}, which "
                "`lure export --format safetensors` writes."
            )
        self._metadata = json.loads(metadata[_METADATA])

    def config(self) -> Any:
        """The description, not checked."""
        return self._metadata["config"]

    def licence(self) -> str:
        """Of the weights; empty if there is none."""
        return self._metadata["licence"]

    def prompts(self) -> bytes:
        """The encoded prompts; OSError if there are none."""
        if _PROMPTS not in self._file.keys():
            raise FileNotFoundError(_PROMPTS)
        return self._file.get_tensor(_PROMPTS).tobytes()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter "encoder/stem/kernel" -> shape."""
        names = (name for name in self._file.keys() if name != _PROMPTS)
        return {name.replace(".", "/"): tuple(self._file.get_slice(name).get_shape()) for name in names}

    def params(self, abstract: Any) -> Any:
        """The parameters as float32 numpy arrays, in the tree of `abstract`."""
        names = flatten_dict(abstract, sep=".")
        return unflatten_dict({n: self._file.get_tensor(n).astype(np.float32) for n in names}, sep=".")
