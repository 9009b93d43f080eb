"""Device meshes from a config, and the one table that says which tensor axis lies on which mesh axis."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lure_jax.training.errors import ConfigError

AXES = ("data", "fsdp", "model")
BATCH_AXES = ("data", "fsdp")

# Logical axis -> mesh axes. `data` replicates the state and splits the batch; `model` splits the wide tensors of one
# layer; None is replicated. A mesh axis is used once in a tensor: the first of its axes in this table takes it.
# `fsdp` splits the batch, and the state whatever its axes are called (ZeRO-3): parameters, EMA and moments alike, each
# tensor along the longest axis that it divides. A step gathers the parameters, and returns to the shards.
RULES: tuple[tuple[str, Any], ...] = (
    # activations
    ("batch", BATCH_AXES),  # samples
    ("height", None),  # rows of pixels
    ("width", None),  # columns of pixels
    ("channels", None),  # features of a pixel
    # parameters
    ("wide", "model"),  # expanded channels: GDFN's hidden ones, query/key/value of an attention
    ("heads", "model"),  # attention heads
    ("in", None),  # channels a kernel reads
    ("out", None),  # channels a kernel writes
    ("kernel", None),  # spatial taps of a kernel
    ("norm", None),  # one scale or bias a channel
    ("condition", None),  # degradation conditions
    ("token", None),  # text tokens of a condition
    ("text", None),  # width of a text token
)


def make_mesh(sizes: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Makes the mesh (data, fsdp, model).

    Args:
        sizes: devices along each of `AXES`; at most one may be -1, which is what the others leave.
        devices: to be used; default all devices of all processes.

    Returns:
        A mesh with Auto axes: the compiler places what the rules leave open.

    Raises:
        ConfigError: a size is neither positive nor -1, the product is not the number of devices, or a pod's wiring (a
          torus of 4x4x4 chips, say) has no such axes.
    """
    shape = [int(sizes[axis]) for axis in AXES]
    devices = jax.devices() if devices is None else devices
    wanted = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, shape, strict=True))
    if shape.count(-1) > 1 or any(size == 0 or size < -1 for size in shape):
        raise ConfigError(f"config.mesh ({wanted}) needs positive sizes, at most one of them -1 for the rest.")
    known = math.prod(size for size in shape if size > 0)
    if -1 in shape and len(devices) % known == 0:
        shape[shape.index(-1)] = len(devices) // known
    if math.prod(shape) != len(devices):
        raise ConfigError(f"config.mesh ({wanted}) does not fit the {len(devices)} devices of this run.")
    types = (jax.sharding.AxisType.Auto,) * len(AXES)
    try:
        return jax.make_mesh(tuple(shape), AXES, axis_types=types, devices=devices)
    except NotImplementedError as error:
        reason = str(error).split(". ")[0]
        raise ConfigError(f"config.mesh ({wanted}) does not fit how the chips are wired: {reason}.") from error


@contextlib.contextmanager
def use_mesh(mesh: Mesh) -> Iterator[None]:
    """Makes the mesh and `RULES` current, so that a model's logical constraints on activations take effect."""
    with jax.set_mesh(mesh), nn.logical_axis_rules(RULES):
        yield


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of every array of a batch: its first axis over `BATCH_AXES`."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def process_share(mesh: Mesh) -> tuple[int, int]:
    """What this process reads of every batch, by where its devices lie.

    Returns:
        (index, count): the index-th of so many equal parts; processes whose devices hold the same samples have the
        same.

    Raises:
        ConfigError: the devices of the processes lie so on the mesh that the batch has no equal parts.
    """
    owners = np.vectorize(lambda device: device.process_index)(mesh.devices).reshape(-1, mesh.shape["model"])
    held = {int(process): tuple(np.flatnonzero((owners == process).any(1))) for process in np.unique(owners)}
    shares = sorted(set(held.values()))
    if len({len(share) for share in shares}) > 1 or sum(map(len, shares)) != len(owners):
        sizes = ", ".join(f"{axis}={size}" for axis, size in mesh.shape.items())
        raise ConfigError(
            f"config.mesh ({sizes}) does not share a batch equally among {len(held)} processes: make model a divisor "
            "or a multiple of the devices of a process."
        )
    return shares.index(held[jax.process_index()]), len(shares)


def param_shardings(boxed: Any, mesh: Mesh) -> tuple[Any, list[str]]:
    """Places parameters by `RULES`, then each along its longest axis that fsdp divides; the rest is replicated.

    Args:
        boxed: tree of `ShapeDtypeStruct` in Flax's boxes, from `jax.eval_shape(init, key)`.
        mesh: the mesh of the run.

    Returns:
        The tree of `NamedSharding` (unboxed structure), and for the log one sentence for all tensors of one shape that
        a mesh axis does not divide.

    Raises:
        ValueError: a logical axis without a rule.
    """
    left_whole: dict[str, list[str]] = {}

    def place(path: Any, leaf: jax.ShapeDtypeStruct, names: PartitionSpec) -> NamedSharding:
        def whole(why: str) -> None:
            left_whole.setdefault(f"{leaf.shape}: {why}", []).append(path_name(path))

        axes = mesh_axes(names) + [()] * (len(leaf.shape) - len(names))
        for index, size in enumerate(leaf.shape):
            parts = math.prod(mesh.shape[axis] for axis in axes[index])
            if size % parts:
                whole(f"the axis of {size} is not divisible by {'*'.join(axes[index])}={parts}")
                axes[index] = ()
        if mesh.shape["fsdp"] > 1:
            local = [size // math.prod(mesh.shape[a] for a in on) for size, on in zip(leaf.shape, axes, strict=True)]
            divisible = [index for index, size in enumerate(local) if size % mesh.shape["fsdp"] == 0]
            if divisible:
                longest = max(divisible, key=local.__getitem__)
                axes[longest] = (*axes[longest], "fsdp")
            else:
                whole(f"no axis is divisible by fsdp={mesh.shape['fsdp']}")
        return NamedSharding(mesh, PartitionSpec(*(on or None for on in axes)))

    shardings = jax.tree_util.tree_map_with_path(place, nn.unbox(boxed), nn.get_partition_spec(boxed))
    return shardings, [_sentence(names, why) for why, names in left_whole.items()]


def _sentence(names: list[str], why: str) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more} {why}"


def gathered(shardings: Any) -> Any:
    """The shardings with which a step computes: whole over fsdp, still split over model."""

    def without_fsdp(sharding: NamedSharding) -> NamedSharding:
        kept = [tuple(axis for axis in _axes_of(on) if axis != "fsdp") or None for on in sharding.spec]
        return NamedSharding(sharding.mesh, PartitionSpec(*kept))

    return jax.tree.map(without_fsdp, shardings)


def mesh_axes(names: Sequence[str | None]) -> list[tuple[str, ...]]:
    """The mesh axes of each axis of a tensor; as `nn.logical_to_mesh_axes`, but a name may occur twice.

    Raises:
        ValueError: a logical axis without a rule.
    """
    found: list[tuple[str, ...]] = [()] * len(names)
    known = [name for name, _ in RULES]
    for name in names:
        if name is not None and name not in known:
            raise ValueError(f"a parameter has the logical axis {name!r}, which mesh.RULES lacks.")
    for name, axes in RULES:
        axes = _axes_of(axes)
        if name in names and not any(set(axes) & set(other) for other in found):
            found[names.index(name)] = axes
    return found


def _axes_of(entry: str | Sequence[str] | None) -> tuple[str, ...]:
    return (entry,) if isinstance(entry, str) else tuple(entry or ())


def path_name(path: Any) -> str:
    """A key path as it is written in configs and messages: "encoder/up/kernel"."""
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)
