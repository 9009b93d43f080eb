"""The real step on meshes of eight fake devices: the same numbers as one device, and the state split by fsdp."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from devices import environment

WANTED = {"space": ["one", "data", "fsdp", "model", "all"], "consistency": ["one", "all"]}


@pytest.fixture(scope="module")
def runs():
    command = [sys.executable, str(pathlib.Path(__file__).with_name("mesh_runs.py")), json.dumps(WANTED)]
    result = subprocess.run(command, env=environment(8), capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "mesh"), [(name, m) for name, those in WANTED.items() for m in those[1:]])
def test_every_mesh_makes_the_steps_of_one_device(runs, objective, mesh):
    one, many = runs[objective]["one"], runs[objective][mesh]
    np.testing.assert_allclose(many["grad_norm"][0], one["grad_norm"][0], rtol=1e-4)
    np.testing.assert_allclose(many["loss"], one["loss"], rtol=1e-3)
    assert len(one["loss"]) == 20 and len({round(loss, 4) for loss in one["loss"]}) > 10


@pytest.mark.slow
def test_fsdp_splits_the_state_and_names_what_it_cannot(runs):
    one, fsdp, data = (runs["space"][name] for name in ("one", "fsdp", "data"))
    whole = one["bytes"][0]
    assert not any(one["bytes"][1:]) and data["bytes"] == [whole] * 8 and not data["left_whole"]
    assert len(set(fsdp["bytes"])) == 1 and fsdp["bytes"][0] < whole / 8 * 1.05
    assert any(line.startswith("encoder/condition/answer/bias (13,): no axis is divisible by fsdp=8")
               for line in fsdp["left_whole"])  # fmt: skip
    assert runs["space"]["all"]["bytes"][0] < whole / 2 * 0.95  # fsdp=2, and the wide tensors over model=2
