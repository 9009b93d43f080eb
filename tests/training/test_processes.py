"""Real processes on one machine by jax.distributed: they make the run of one, on any topology, and survive a death."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import toy_recipe as toy
from devices import environment

from lure_jax.training import checkpoints
from lure_jax.training.progress import read_metrics

SAVE_OFTEN = dict(every=4, keep=20, best="", best_mode="max")
STEPS = 20


def start(workdir, processes=1, devices=1, **options):
    """Starts the toy recipe in so many processes of so many devices each; `only_process` has options of single ones."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = environment(devices)
    if processes > 1:
        options |= dict(port=port, processes=processes)
    only_process = options.pop("only_process", {})
    started = []
    for process in range(processes):
        own = options | (dict(process=process) if processes > 1 else {}) | only_process.get(process, {})
        command = [sys.executable, toy.__file__, str(workdir), json.dumps(own)]
        piped = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(subprocess.Popen(command, env=env, **piped))
    return started


def wait(processes):
    """Their exit codes and what they said."""
    try:
        said = [process.communicate(timeout=480)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()  # of those that did not end
    return [process.returncode for process in processes], said


def finish(*args, **options):
    codes, said = wait(start(*args, **options))
    assert not any(codes), "\n".join(said)
    return said


def losses(workdir):
    return np.array([row["loss"] for row in read_metrics(workdir) if row["split"] == "train"])


def scores(workdir):
    return np.array([row["psnr"] for row in read_metrics(workdir) if row["split"] == "eval"])


def read(record, seed, processes):
    """The samples of each batch of a stage, as the processes read them."""
    parts = [[json.loads(line) for line in open(record / f"{seed}_{index}")] for index in range(processes)]
    return [sum(shares, []) for shares in zip(*parts, strict=True)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of one process on one device: its workdir, and what it read."""
    workdir, record = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("record")
    toy.run(workdir, stages=toy.make_stages(record=record), evaluate=toy.evaluate, eval_every=5, log_every=1)
    return workdir, {seed: read(record, seed, 1) for seed in (1, 2)}


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """The run of four processes of two devices."""
    workdir, record = tmp_path_factory.mktemp("four"), tmp_path_factory.mktemp("record")
    mesh = dict(data=2, fsdp=4, model=1)
    options = dict(record=str(record), checkpoint=SAVE_OFTEN, eval_every=5, log_every=1)
    finish(workdir, processes=4, devices=2, mesh=mesh, **options)
    return workdir, record


@pytest.mark.slow
def test_four_processes_make_the_run_of_one_and_share_its_samples(alone, four):
    workdir, record = four
    np.testing.assert_allclose(losses(workdir), losses(alone[0]), rtol=1e-3)
    np.testing.assert_allclose(losses(workdir)[0], losses(alone[0])[0], rtol=1e-5)
    np.testing.assert_allclose(scores(workdir), scores(alone[0]), rtol=1e-3)
    assert len(scores(workdir)) == 4
    for seed in (1, 2):
        together = read(record, seed, 4)
        assert together == alone[1][seed]
        assert len(set(sum(together, []))) == STEPS // 2 * toy.BATCH  # none of them twice


@pytest.mark.slow
def test_a_run_moves_from_topology_to_topology_and_reads_on(alone, four, tmp_path):
    """4 processes of 2 devices, then 1 of 4, then 2 of 1: a checkpoint of each is continued by the next."""
    source, begun = four[0], 8
    for processes, devices, mesh in ((1, 4, dict(data=1, fsdp=2, model=2)), (2, 1, dict(data=1, fsdp=2, model=1))):
        workdir, record = tmp_path / f"{processes}x{devices}", tmp_path / f"record_{processes}"
        record.mkdir()
        shutil.copytree(source / "checkpoints" / str(begun), workdir / "checkpoints" / str(begun))
        options = dict(record=str(record), checkpoint=SAVE_OFTEN, log_every=1)
        finish(workdir, processes=processes, devices=devices, mesh=mesh, **options)
        np.testing.assert_allclose(losses(workdir), losses(alone[0])[begun:], rtol=1e-3)
        if begun < 10:
            assert read(record, 1, processes) == alone[1][1][begun:]
        assert read(record, 2, processes) == alone[1][2][max(0, begun - 10) :]
        source, begun = workdir, 12


@pytest.mark.slow
def test_a_process_killed_while_it_saves_costs_no_checkpoint(alone, tmp_path):
    options = dict(processes=2, checkpoint=SAVE_OFTEN, log_every=1, mesh=dict(data=1, fsdp=2, model=1))
    began = time.monotonic()
    codes, said = wait(start(tmp_path, only_process={1: dict(die_saving=8)}, **options))
    assert codes[1] == -signal.SIGKILL and codes[0] == 1, said
    assert "lost another process" in said[0] and "the same command continues" in said[0], said[0]
    assert time.monotonic() - began < 120
    assert checkpoints.latest_step(tmp_path) == 4
    assert any(path.name.startswith("8.") for path in (tmp_path / "checkpoints").iterdir())  # half of it
    finish(tmp_path, **options)
    assert checkpoints.latest_step(tmp_path) == STEPS
    assert not any("." in path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir())
    np.testing.assert_allclose(losses(tmp_path), losses(alone[0]), rtol=1e-3)


@pytest.mark.slow
def test_a_process_that_is_told_to_stop_stops_all(tmp_path):
    both = start(tmp_path, processes=2, steps=(10, 20000), log_every=10)
    for line in both[0].stdout:
        if line.startswith("decoder "):
            break
    both[1].send_signal(signal.SIGTERM)
    codes, said = wait(both)
    assert codes == [0, 0], said
    stopped = checkpoints.latest_step(tmp_path)
    assert 10 < stopped < 20010 and stopped % 10 == 0 and "another process was told to" in said[0]
