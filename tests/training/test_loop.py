"""Whole runs of a toy recipe: stages, resuming to the bit, stopping, divergence."""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import toy_recipe as toy

from lure_jax.training import checkpoints
from lure_jax.training.errors import ConfigError
from lure_jax.training.progress import read_metrics

SAVE_OFTEN = dict(every=4, keep=20, best="", best_mode="max")


def assert_identical(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)


def losses(workdir):
    return [row["loss"] for row in read_metrics(workdir) if row["split"] == "train"]


def start(workdir, **options):
    """Starts the toy recipe in a process of its own."""
    env = dict(os.environ, JAX_PLATFORMS="cpu", PYTHONPATH=os.getcwd())
    options["cache"] = jax.config.jax_compilation_cache_dir
    command = [sys.executable, toy.__file__, str(workdir), json.dumps(options)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(*processes):
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        process.said = output + errors


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory):
    """A run from beginning to end that saves every four steps, and its final state."""
    workdir = tmp_path_factory.mktemp("unstopped")
    return workdir, toy.run(workdir, checkpoint=SAVE_OFTEN, log_every=1)


@pytest.mark.parametrize("step", [4, 10, 16])
def test_resumed_from_any_checkpoint_is_bit_identical(unstopped, tmp_path, step):
    source, expected = unstopped
    shutil.copytree(source / "checkpoints" / str(step), tmp_path / "checkpoints" / str(step))
    state = toy.run(tmp_path, log_every=1)
    assert_identical(state, expected)
    assert losses(tmp_path) == losses(source)[step:]


def test_a_finished_run_has_nothing_left_to_do(unstopped):
    source, expected = unstopped
    assert_identical(toy.run(source), expected)


def test_a_time_limit_saves_and_the_same_command_continues(unstopped, tmp_path):
    state = toy.run(tmp_path, max_seconds=1e-6, log_every=1)
    assert int(state.step) == 1 and checkpoints.latest_step(tmp_path) == 1
    state = toy.run(tmp_path, log_every=1)
    assert_identical(state, unstopped[1])
    assert losses(tmp_path) == losses(unstopped[0])


def test_sigterm_saves_exits_zero_and_continues_bit_identically(tmp_path):
    """The process is told to stop in the middle of a long stage; it and its resumption make up one run."""
    steps = (20, 800)
    process = start(tmp_path / "stopped", steps=steps)
    for line in process.stderr:
        if match := re.match(r"decoder (\d+)/820", line):
            assert int(match[1]) > 20
            process.send_signal(signal.SIGTERM)
            break
    finish(process)
    stopped = checkpoints.latest_step(tmp_path / "stopped")
    assert 20 < stopped < 820 and f"stopped at step {stopped} of 820 (SIGTERM)" in process.said
    resumed = toy.run(tmp_path / "stopped", stages=toy.make_stages(steps), log_every=500)
    assert_identical(resumed, toy.run(tmp_path / "whole", stages=toy.make_stages(steps), log_every=500))


def test_a_stage_starts_from_the_average_and_freezes(unstopped):
    workdir, final = unstopped
    metadata = checkpoints.saved_stage(workdir, 10)
    assert metadata == "decoder" and checkpoints.saved_stage(workdir, 8) == "both"
    before = restored(workdir, 8, plan=0)
    start_of_second = restored(workdir, 10, plan=1)
    assert_identical(start_of_second.params, start_of_second.ema)
    assert not np.array_equal(before.params["encoder"]["kernel"], before.ema["encoder"]["kernel"])
    assert_identical(final.params["encoder"], start_of_second.params["encoder"])
    assert_identical(final.ema["encoder"], start_of_second.params["encoder"])
    assert not np.array_equal(final.params["decoder"]["kernel"], start_of_second.params["decoder"]["kernel"])
    assert int(before.aux["seen"]) == 64 and int(final.aux["seen"]) == 160
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(start_of_second.optimizer))
    moments = [leaf.shape for leaf in jax.tree.leaves(final.optimizer) if leaf.ndim == 2]
    assert moments == [(toy.WIDTH, 3)] * 2


def restored(workdir, step, plan):
    from lure_jax.training import mesh, state

    config = toy.make_config()
    devices = mesh.make_mesh(config.mesh)
    params, _ = state.abstract_params(toy.init, jax.random.key(0), devices)
    plans = state.make_plans(toy.make_stages(), params, ema=config.ema, mesh=devices)
    return checkpoints.restore(workdir, step, plans[plan].abstract)


def test_a_whole_run_compiles_one_step_a_stage_and_nothing_while_it_runs(tmp_path):
    """Of twenty steps, with saving, evaluating and logging between them."""
    compiled, steps_seen = [], []

    def listen(event, seconds, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append((details.get("fun_name", ""), len(steps_seen)))

    def evaluate(params, step, stage):
        steps_seen.append(step)
        return {"psnr": 1.0}, {}

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        jax.clear_caches()
        toy.run(tmp_path, checkpoint=SAVE_OFTEN, log_every=1, eval_every=1, evaluate=evaluate)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(steps_seen) == 20
    assert [number for name, number in compiled if name in ("step", "jit(step)", "jit_step")] == [0, 10]
    assert not [entry for entry in compiled if entry[1] not in (0, 10)], compiled


def test_divergence_stops_with_step_and_terms_and_is_never_saved(tmp_path):
    message = "'decoder' diverged at step 14: error nan, grad_norm nan, loss nan, lr"
    with pytest.raises(FloatingPointError, match=message):
        toy.run(tmp_path, stages=toy.make_stages(poison=3), checkpoint=SAVE_OFTEN, log_every=100)
    assert checkpoints.latest_step(tmp_path) == 12


def test_init_from_takes_the_average_of_another_run(unstopped, tmp_path):
    state = toy.run(tmp_path, init_from=str(unstopped[0]), stages=toy.make_stages((3, 3)), max_seconds=1e-6)
    assert int(state.step) == 1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-2), state.params, unstopped[1].ema)
    with pytest.raises(FileNotFoundError, match="nowhere holds no checkpoint"):
        toy.run(tmp_path / "new", init_from=str(tmp_path / "nowhere"))


def test_resume_takes_up_another_workdir_and_own_checkpoints_come_first(unstopped, tmp_path):
    stopped, own = tmp_path / "stopped", tmp_path / "own"
    toy.run(stopped, max_seconds=1e-6)
    state = toy.run(own, resume=str(stopped), init_from="never read")
    assert_identical(state, unstopped[1])
    assert_identical(toy.run(own, resume="never read either"), state)
    with pytest.raises(ConfigError, match="config.resume is 'nowhere', but no checkpoint is there"):
        toy.run(tmp_path / "new", resume="nowhere")


def test_a_changed_model_names_the_parameter_and_both_shapes(unstopped):
    with pytest.raises(ConfigError, match=r"params/\w+/(kernel|bias) is \(.*16.*\) there and \(.*24.*\) here"):
        toy.run(unstopped[0], init=functools.partial(toy.init, model=toy.Toy(width=24)))


def test_a_changed_recipe_is_refused_in_one_sentence(unstopped):
    stages = toy.make_stages()
    with pytest.raises(ConfigError, match=r"step 20 of stage 'decoder', which this recipe \(both 0..10\) lacks"):
        toy.run(unstopped[0], stages=stages[:1])
    frozen = toy.Regression(lr_factors={"encoder/bias": 0.0})
    stages = [toy.Stage("decoder", frozen, 20, toy.stage_config(), functools.partial(toy.make_data, 1))]
    with pytest.raises(ConfigError, match=r"optimizer/1/0/mu/encoder/kernel is absent there and \(8, 16\) here"):
        toy.run(unstopped[0], stages=stages)


def test_latest_and_best_checkpoints_stay(tmp_path):
    scores = {5: 1.0, 10: 3.0, 15: 2.0, 20: 0.0}
    calls = []

    def evaluate(params, step, stage):
        calls.append((step, stage, params["encoder"]["kernel"].shape))
        return {"psnr": scores[step]}, {"sheet": np.full((4, 6, 3), step, np.uint8)}

    policy = dict(every=0, keep=1, best="psnr", best_mode="max")
    toy.run(tmp_path, checkpoint=policy, eval_every=5, evaluate=evaluate)
    shape = (8, toy.WIDTH)
    assert calls == [(5, "both", shape), (10, "both", shape), (15, "decoder", shape), (20, "decoder", shape)]
    kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert kept == [10, 20]
    rows = [row for row in read_metrics(tmp_path) if row["split"] == "eval"]
    assert [(row["step"], row["stage"], row["psnr"]) for row in rows][1] == (10, "both", 3.0)
    assert (tmp_path / "sheet.png").is_file() and list((tmp_path / "tensorboard").iterdir())
    with pytest.raises(ConfigError, match="config.checkpoint.best is 'ssim', but the evaluation gives psnr"):
        policy = dict(policy, best="ssim")
        toy.run(tmp_path / "other", checkpoint=policy, eval_every=5, evaluate=evaluate)


@pytest.mark.parametrize("values, message", [(dict(warmup=10), "warmup is 10"), (dict(batch=0.5), "batch is 0.5")])
def test_stage_values_that_cannot_work(tmp_path, values, message):
    stage = toy.Stage("both", toy.Regression(), 10, toy.stage_config(**values), functools.partial(toy.make_data, 1))
    with pytest.raises(ConfigError, match=f"config.stages.both.{message}"):
        toy.run(tmp_path, stages=[stage])


def test_data_that_ends_says_so(tmp_path):
    class Short:
        def __init__(self, **place):
            self.left, self.data = 3, toy.make_data(1, **place)

        def __iter__(self):
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            self.left -= 1
            return next(self.data)

    stage = toy.Stage("both", toy.Regression(), 10, toy.stage_config(), Short)
    with pytest.raises(ConfigError, match="data of stage 'both' ended"):
        toy.run(tmp_path, stages=[stage])
