"""The dynamic weights against the formula written out in numpy, under jit, and their docstrings."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lure_jax.objectives import schedules


def reference(losses, alpha, window, decay, lbar):
    """method.md's formula, step by step: the weights before each update."""
    means, out = [], []
    for t, loss in enumerate([*losses, None]):
        ratio = np.ones(2)
        if t >= 2 * window:
            ratio = np.clip(means[t - 1] / means[t - 1 - window], 0.5, 1.5)
        weights = 2 * np.exp(ratio / 2) / np.exp(ratio / 2).sum()
        guard = 0.5 if t and means[-1][0] > 1.1 * lbar else 1.0
        out.append([*weights, guard * alpha(t)])
        if loss is not None:
            means.append(loss if t == 0 else decay * means[-1] + (1 - decay) * loss)
    return np.array(out)


def curve(steps=60):
    t = np.arange(steps)
    rng = np.random.default_rng(0)
    fusion = 0.5 + 0.3 * np.sin(t / 9)  # passes the guard both ways
    return np.stack([fusion, np.exp(-t / 15) + 0.02], 1) * rng.uniform(0.9, 1.1, (steps, 2))


@pytest.mark.parametrize("window", [4, 7])
def test_against_the_formula(window):
    alpha = schedules.gaussian_ramp(0.2, 12)
    schedule = schedules.ssvif_weights(alpha, window=window, decay=0.8)
    assert isinstance(schedule, optax.schedules.StatefulSchedule)
    state, seen = schedule.init(reference=0.55), []
    update = jax.jit(schedule.update)
    for loss in curve():
        seen.append(np.array(schedule(state)))
        state = update(state, losses=jnp.asarray(loss))
    seen.append(np.array(schedule(state)))
    expected = reference(curve(), lambda t: 0.2 * np.exp(-5 * (1 - min(1, t / 12)) ** 2), window, 0.8, 0.55)
    np.testing.assert_allclose(np.array(seen), expected, rtol=2e-5)
    assert len(np.unique(expected[:, 2].round(4))) > 10 and expected[:, 0].max() - expected[:, 0].min() > 0.1


def test_scan_carries_the_state_and_no_gradient():
    schedule = schedules.ssvif_weights(schedules.gaussian_ramp(0.2, 5), window=3)

    def run(losses):
        def step(state, loss):
            return schedule.update(state, loss), schedule(state).fusion

        return jax.lax.scan(step, schedule.init(1.0), losses)[1].sum()

    losses = jnp.asarray(curve(20), jnp.float32)
    value, gradient = jax.jit(jax.value_and_grad(run))(losses)
    assert np.isfinite(value) and not np.any(gradient)


def test_the_weights_stay_within_their_bounds():
    schedule = schedules.ssvif_weights(optax.constant_schedule(0.2), window=2, decay=0.0)
    state = schedule.init(1.0)
    for loss in ([1, 1], [1, 1], [1e6, 1e-6], [1e-6, 1e6], [1, 1], [1e9, 0], [1, 1]):
        state = schedule.update(state, losses=jnp.asarray(loss, jnp.float32))
        weights = schedule(state)
        assert 0.75 < weights.fusion < 1.25 and abs(weights.fusion + weights.consistency - 2) < 1e-6


def test_constant_weights_never_change():
    schedule = schedules.constant_weights(0.1)
    assert isinstance(schedule, optax.schedules.StatefulSchedule)
    state = schedule.update(schedule.init(reference=0.5), losses=jnp.array([9.0, 1.0]))
    np.testing.assert_allclose(np.array(schedule(state)), [1, 1, 0.1])
    assert float(state.reference) == 0.5 and int(state.count) == 1


def test_a_ramp_without_steps_is_at_its_peak():
    np.testing.assert_allclose(schedules.gaussian_ramp(0.2, 0)(0), 0.2)


def test_docstrings():
    result = doctest.testmod(schedules)
    assert result.attempted > 8 and not result.failed
