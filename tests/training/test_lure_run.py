"""The real recipe in real processes, stopped and resumed."""

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
SHRINK += ["condition_head.samples=16", "condition_head.crops=(48,)"]
SHRINK += [f"stages.{stage}.{value}" for stage in ("space", "rule") for value in ("batch=8", "crop=48", "warmup=2")]


def command(workdir: pathlib.Path, data_dir: pathlib.Path) -> list[str]:
    values = [*SHRINK, f"data.data_dir={data_dir}", f"compilation_cache={CACHE}"]
    flags = [f"--config.{value}" for value in values]
    return [sys.executable, "train.py", "--config=configs/quickstart.py", f"--workdir={workdir}", *flags]


ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1"}


def run(workdir, data_dir):
    subprocess.run(command(workdir, data_dir), cwd=ROOT, env=ENVIRONMENT, check=True, timeout=900, capture_output=True)


def metrics(workdir: pathlib.Path) -> dict[int, dict]:
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row for row in rows if row["split"] == "train"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory, data_dir):
    workdir = tmp_path_factory.mktemp("run") / "unstopped"
    run(workdir, data_dir)
    return workdir


@pytest.mark.slow
def test_a_run_ends_with_a_model_a_picture_and_its_records(unstopped):
    wanted = {"fused.png", "metrics.jsonl", "model", "checkpoints", "tensorboard"}
    assert wanted <= {path.name for path in unstopped.iterdir()}


@pytest.mark.slow
def test_stopped_and_resumed_is_bit_identical(unstopped, data_dir, tmp_path):
    workdir = tmp_path / "stopped"
    process = subprocess.Popen(
        command(workdir, data_dir), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
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


def _leaves(tree, path=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}/{name}")
        else:
            yield f"{path}/{name}", np.asarray(value)
