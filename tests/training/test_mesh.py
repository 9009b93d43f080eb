"""Meshes and rules on eight fake devices, in a process of their own."""

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import jax
import numpy as np
import pytest
from devices import environment

from lure_jax.training.errors import ConfigError
from lure_jax.training.mesh import AXES, RULES, make_mesh, path_name, process_share

SCRIPT = """
import json, jax, jax.numpy as jnp, flax.linen as nn
from lure_jax.training.errors import ConfigError
from lure_jax.training.mesh import gathered, make_mesh, param_shardings
shapes = {}
for sizes in ((-1, 1, 1), (2, 2, 2), (1, -1, 4)):
    shapes[str(sizes)] = dict(make_mesh(dict(zip(("data", "fsdp", "model"), sizes))).shape)
errors = []
for sizes in ((3, 1, 1), (-1, -1, 1), (0, 1, 1), (-1, 3, 1)):
    try:
        make_mesh(dict(zip(("data", "fsdp", "model"), sizes)))
    except ConfigError as error:
        errors.append(str(error))
box = lambda shape, names: nn.LogicallyPartitioned(jax.ShapeDtypeStruct(shape, jnp.float32), names)
tree = {"conv": box((3, 3, 8, 12), ("kernel", "kernel", "in", "wide")), "uneven": box((5, 9), ("in", "wide")),
        "uneven_too": box((5, 9), ("in", "wide")), "one_axis": box((4,), ("wide",)), "norm": box((7,), ("norm",)),
        "long": box((64, 6), ("in", "wide"))}
shardings, whole = param_shardings(tree, make_mesh(dict(data=2, fsdp=2, model=2)))
spec = lambda sharding: ["*".join((axes,) if isinstance(axes, str) else axes or ()) for axes in sharding.spec]
specs = {name: [spec(shardings[name]), spec(gathered(shardings[name]))] for name in tree}
print(json.dumps([shapes, errors, specs, shardings["conv"].shard_shape((3, 3, 8, 12)), whole]))
"""


def test_rules_and_meshes_on_eight_devices():
    output = subprocess.run([sys.executable, "-c", SCRIPT], env=environment(8), capture_output=True, timeout=100)
    assert not output.returncode, output.stderr.decode()
    shapes, errors, specs, shard, whole = json.loads(output.stdout)
    assert shapes["(-1, 1, 1)"] == {"data": 8, "fsdp": 1, "model": 1}
    assert shapes["(2, 2, 2)"] == {"data": 2, "fsdp": 2, "model": 2}
    assert shapes["(1, -1, 4)"] == {"data": 1, "fsdp": 2, "model": 4}
    assert len(errors) == 4 and all(error.startswith("config.mesh (data=") for error in errors)
    assert shard == [3, 3, 4, 6]
    assert specs == {  # sharded, and gathered to compute
        "conv": [["", "", "fsdp", "model"], ["", "", "", "model"]],
        "uneven": [["", ""], ["", ""]],
        "uneven_too": [["", ""], ["", ""]],
        "one_axis": [["model*fsdp"], ["model"]],
        "norm": [[""], [""]],
        "long": [["fsdp", "model"], ["", "model"]],
    }
    assert whole == [
        "norm (7,): no axis is divisible by fsdp=2",
        "uneven and 1 more (5, 9): the axis of 9 is not divisible by model=2",
        "uneven and 1 more (5, 9): no axis is divisible by fsdp=2",
    ]


class Device(NamedTuple):
    process_index: int


@pytest.mark.parametrize(
    ("shape", "owners", "shares"),
    [
        ((2, 2, 1), [0, 0, 1, 1], [(0, 2), (1, 2)]),
        ((1, 4, 1), [1, 1, 0, 0], [(1, 2), (0, 2)]),  # in whichever order the devices lie
        ((1, 2, 2), [0, 1, 2, 3], [(0, 2), (0, 2), (1, 2), (1, 2)]),  # a model over two processes
        ((1, 1, 4), [0, 0, 1, 1], [(0, 1), (0, 1)]),
    ],
)
def test_what_a_process_reads_follows_its_devices(shape, owners, shares, monkeypatch):
    grid = SimpleNamespace(devices=np.array([*map(Device, owners), None], object)[:-1].reshape(shape))
    grid.shape = dict(zip(AXES, shape, strict=True))
    for process, expected in enumerate(shares):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        assert process_share(grid) == expected


def test_a_mesh_that_cuts_batches_unevenly_is_refused():
    devices = np.empty((1, 3, 2), object)
    devices[:] = [[[Device(0), Device(0)], [Device(0), Device(1)], [Device(1), Device(1)]]]
    grid = SimpleNamespace(devices=devices, shape=dict(data=1, fsdp=3, model=2))
    with pytest.raises(ConfigError, match="does not share a batch equally among 2 processes"):
        process_share(grid)


def test_mesh_that_does_not_fit_names_the_devices():
    with pytest.raises(ConfigError, match=r"data=3, fsdp=1, model=1\) does not fit the 1 devices"):
        make_mesh({"data": 3, "fsdp": 1, "model": 1})


def test_mesh_that_a_pod_is_not_wired_for_is_one_sentence():
    chips = [
        SimpleNamespace(platform="tpu", device_kind="TPU v5", coords=(i % 4, i // 4 % 4, i // 16), core_on_chip=0,
                        process_index=i // 4, id=i, slice_index=0)
        for i in range(64)
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"data=8, fsdp=8, model=1\) does not fit how the chips are wired: Failed"):
        make_mesh(dict(data=8, fsdp=8, model=1), chips)


def test_every_rule_names_a_mesh_axis_once():
    names = [name for name, _ in RULES]
    assert len(set(names)) == len(names)
    for _, axes in RULES:
        assert set((axes,) if isinstance(axes, str) else axes or ()) <= set(AXES)


def test_path_name():
    (path, _), *_ = jax.tree_util.tree_leaves_with_path({"encoder": [{"kernel": 1}]})
    assert path_name(path) == "encoder/0/kernel"
