"""Meshes and rules on eight fake devices, in a process of their own."""

import json
import os
import subprocess
import sys

import jax
import pytest

from lure_jax.training.errors import ConfigError
from lure_jax.training.mesh import AXES, RULES, make_mesh, path_name

SCRIPT = """
import json, jax, jax.numpy as jnp, flax.linen as nn
from lure_jax.training.errors import ConfigError
from lure_jax.training.mesh import make_mesh, param_shardings
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
tree = {"a": {"kernel": box((3, 3, 8, 12), ("kernel", "kernel", "in", "wide"))},
        "b": {"kernel": box((5, 12), ("in", "wide"))}, "c": box((7,), ("norm",))}
shardings, whole = param_shardings(tree, make_mesh(dict(data=2, fsdp=2, model=2)))
spec = lambda sharding: ["*".join((axes,) if isinstance(axes, str) else axes or ()) for axes in sharding.spec]
specs = {name: spec(shardings[name]["kernel"]) for name in "ab"}
print(json.dumps([shapes, errors, specs, shardings["a"]["kernel"].shard_shape((3, 3, 8, 12)), whole]))
"""


def test_rules_and_meshes_on_eight_devices():
    env = dict(os.environ, XLA_FLAGS="--xla_force_host_platform_device_count=8", JAX_PLATFORMS="cpu")
    output = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, timeout=100)
    assert not output.returncode, output.stderr.decode()
    shapes, errors, specs, shard, whole = json.loads(output.stdout)
    assert shapes["(-1, 1, 1)"] == {"data": 8, "fsdp": 1, "model": 1}
    assert shapes["(2, 2, 2)"] == {"data": 2, "fsdp": 2, "model": 2}
    assert shapes["(1, -1, 4)"] == {"data": 1, "fsdp": 2, "model": 4}
    assert len(errors) == 4 and all(error.startswith("config.mesh (data=") for error in errors)
    assert shard == [3, 3, 4, 6]
    assert specs == {"a": ["", "", "fsdp", "model"], "b": ["", "model"]}
    assert len(whole) == 1 and whole[0].startswith("b/kernel (5, 12): the axis of 5") and "fsdp=2" in whole[0]


def test_mesh_that_does_not_fit_names_the_devices():
    with pytest.raises(ConfigError, match=r"data=3, fsdp=1, model=1\) does not fit the 1 devices"):
        make_mesh({"data": 3, "fsdp": 1, "model": 1})


def test_every_rule_names_a_mesh_axis_once():
    names = [name for name, _ in RULES]
    assert len(set(names)) == len(names)
    for _, axes in RULES:
        assert set((axes,) if isinstance(axes, str) else axes or ()) <= set(AXES)


def test_path_name():
    (path, _), *_ = jax.tree_util.tree_leaves_with_path({"encoder": [{"kernel": 1}]})
    assert path_name(path) == "encoder/0/kernel"
