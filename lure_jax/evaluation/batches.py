"""Batches of images over a device mesh: filled up to its size on the way in, cut back on the way out."""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array

from lure_jax.training.mesh import BATCH_AXES, batch_sharding, make_mesh


def all_devices() -> Mesh | None:
    """All devices along the batch; None for a single one."""
    return make_mesh(dict(data=-1, fsdp=1, model=1)) if jax.device_count() > 1 else None


def mesh_of(params: Any) -> Mesh | None:
    """The mesh that parameters lie on; None for those on a single device."""
    sharding = getattr(jax.tree.leaves(params)[0], "sharding", None)
    return sharding.mesh if isinstance(sharding, NamedSharding) else None


def scatter(mesh: Mesh | None, *arrays: np.ndarray) -> tuple[np.ndarray | Array, ...]:
    """Spreads batches over the mesh, row by row; every process holds all of them.

    Args:
      mesh: None leaves the arrays as they are.
      *arrays: of one length. Their last row is repeated until the devices share them equally.
    """
    if mesh is None:
        return arrays
    missing = -len(arrays[0]) % math.prod(mesh.shape[axis] for axis in BATCH_AXES)

    def place(array: np.ndarray) -> Array:
        full = np.concatenate([array, np.repeat(array[-1:], missing, 0)])
        return jax.make_array_from_callback(full.shape, batch_sharding(mesh), lambda index: full[index])

    return tuple(place(np.asarray(array)) for array in arrays)


def gather(tree: Any, number: int) -> Any:
    """The first rows of batches, on every process, as numpy arrays."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        tree = multihost_utils.process_allgather(tree, tiled=True)
    return jax.tree.map(lambda array: np.asarray(array)[:number], tree)
