"""The real recipe in real processes: stopped and resumed, and on eight devices instead of one."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = os.environ.get("JAX_COMPILATION_CACHE_DIR", "/tmp/lure_jax_cache")
SHRINK = ["recipe=('space','rule')", "stages.space.steps=10", "stages.rule.steps=4", "log_every=1"]
SHRINK += [f"stages.{stage}.{value}" for stage in ("space", "rule") for value in ("batch=8", "crop=48", "warmup=2")]
SHRINK += ["stages.space.lr=3e-4"]  # the first updates turn rounding into steps of full size; small ones stay near


def command(workdir: pathlib.Path, data_dir: pathlib.Path, *changes: str) -> list[str]:
    values = [*SHRINK, f"data.data_dir={data_dir}", f"compilation_cache={CACHE}", *changes]
    flags = [f"--config.{value}" for value in values]
    return [sys.executable, "train.py", "--config=configs/quickstart.py", f"--workdir={workdir}", *flags]


def environment(devices: int) -> dict[str, str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1"}


def run(workdir, data_dir, *changes, devices=1):
    subprocess.run(
        command(workdir, data_dir, *changes), cwd=ROOT, env=environment(devices), check=True, timeout=900,
        capture_output=True,
    )  # fmt: skip


def metrics(workdir: pathlib.Path, split: str = "train") -> dict[int, dict]:
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row for row in rows if row["split"] == split}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory, data_dir):
    workdir = tmp_path_factory.mktemp("run") / "unstopped"
    run(workdir, data_dir)
    return workdir


@pytest.mark.slow
def test_stopped_and_resumed_is_bit_identical(unstopped, data_dir, tmp_path):
    workdir = tmp_path / "stopped"
    process = subprocess.Popen(
        command(workdir, data_dir), cwd=ROOT, env=environment(1), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("space ") and int(line.split()[1].split("/")[0]) >= 3:
            process.send_signal(signal.SIGTERM)
            break
    rest = process.stdout.read()
    assert process.wait(timeout=300) == 0, rest
    assert "the same command continues" in rest and not (workdir / "model").exists()
    time.sleep(0.1)
    run(workdir, data_dir)
    params = [ocp.load(folder / "model" / "params") for folder in (unstopped, workdir)]
    first, second = (dict(_leaves(tree)) for tree in params)
    assert first.keys() == second.keys() and len(first) > 100
    for name, leaf in first.items():
        np.testing.assert_array_equal(leaf, second[name], err_msg=name)
    assert [m["loss"] for m in metrics(workdir).values()] == [m["loss"] for m in metrics(unstopped).values()]


@pytest.mark.slow
def test_eight_devices_follow_one(unstopped, data_dir, tmp_path):
    workdir = tmp_path / "eight"
    run(workdir, data_dir, "mesh.data=2", "mesh.fsdp=2", "mesh.model=2", "recipe=('space',)", devices=8)
    one, eight = metrics(unstopped), metrics(workdir)
    np.testing.assert_allclose(eight[1]["grad_norm"], one[1]["grad_norm"], rtol=1e-4)
    for step in range(1, 11):
        np.testing.assert_allclose(eight[step]["loss"], one[step]["loss"], rtol=1e-3, err_msg=f"step {step}")
    one, eight = (metrics(folder, "eval")[10] for folder in (unstopped, workdir))
    scores = [name for name in one if name.startswith("psnr")]
    assert len(scores) > 10
    np.testing.assert_allclose([eight[name] for name in scores], [one[name] for name in scores], atol=0.1)


def _leaves(tree, path=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}/{name}")
        else:
            yield f"{path}/{name}", np.asarray(value)
