"""The step against NumPy's AdamW, and what it trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.training import step as steps
from lure_jax.training.errors import ConfigError
from lure_jax.training.step import TrainState

FACTORS = {"a": 0.5, "a/frozen": 0.0}


class Quadratic:
    name = "quadratic"
    lr_factors = FACTORS

    def begin(self, previous_aux):
        return {}

    def loss(self, params, batch, rng, step, aux):
        total = sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(params)) / 2
        return total, ({"half": total / 2, "local": step, "draw": jax.random.uniform(rng)}, aux)


def params():
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    return {"a": {"kernel": draw(2, 3), "frozen": {"kernel": draw(2, 2)}}, "ab": {"bias": draw(3)}}


def reference(leaf, grad_scale, rates, factor, decay, ema):
    """Loshchilov and Hutter, algorithm 2, on the gradient grad_scale(t) * leaf."""
    leaf = np.asarray(leaf, np.float64)
    mean, square, average = np.zeros_like(leaf), np.zeros_like(leaf), leaf.copy()
    for t, rate in enumerate(rates):
        grad = leaf * grad_scale[t]
        mean = 0.9 * mean + 0.1 * grad
        square = 0.999 * square + 0.001 * grad**2
        update = (mean / (1 - 0.9 ** (t + 1))) / (np.sqrt(square / (1 - 0.999 ** (t + 1))) + 1e-8) + decay * leaf
        leaf = leaf - rate * factor * update
        d = min(ema, (1 + t) / (10 + t))
        average = d * average + (1 - d) * leaf
    return leaf, average


def run(count, first_step=100, clip=1.0):
    schedule = steps.make_schedule(lr=0.1, final_lr=0.01, warmup=2, steps=6)
    optimizer = steps.make_optimizer(schedule, name="adamw", weight_decay=0.1, clip=clip, lr_factors=FACTORS)
    function = jax.jit(steps.make_step(Quadratic(), optimizer, schedule, ema=0.3, first_step=first_step))
    trainable, _ = steps.split(params(), FACTORS)
    state = TrainState(jnp.int32(first_step), params(), params(), optimizer.init(trainable), {})
    history = []
    for _ in range(count):
        state, metrics = function(state, {}, jax.random.key(0))
        history.append(metrics)
    return state, history


def test_schedule_is_linear_then_cosine():
    schedule = steps.make_schedule(lr=0.1, final_lr=0.01, warmup=2, steps=6)
    cosine = [0.01 + 0.09 * (1 + np.cos(np.pi * t / 4)) / 2 for t in range(5)]
    np.testing.assert_allclose([schedule(t) for t in range(7)], [0.1 / 3, 0.2 / 3, *cosine], rtol=1e-5)


def test_step_is_clipped_adamw_with_factors_decay_on_kernels_and_a_warm_average():
    state, history = run(6)
    rates = [float(metrics["lr"]) for metrics in history]
    scale = [min(1.0, 1.0 / float(metrics["grad_norm"])) for metrics in history]
    assert scale[0] < 1
    start = params()
    for leaf, result, average, factor, decay in (
        (start["a"]["kernel"], state.params["a"]["kernel"], state.ema["a"]["kernel"], 0.5, 0.1),
        (start["ab"]["bias"], state.params["ab"]["bias"], state.ema["ab"]["bias"], 1.0, 0.0),
    ):
        expected, expected_average = reference(leaf, scale, rates, factor, decay, ema=0.3)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(average, expected_average, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 3, 2, 5)])
def test_muon_makes_the_first_update_orthogonal(shape):
    grad = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    tree = {"kernel": jnp.zeros(shape), "scale": jnp.zeros(3)}
    optimizer = steps.make_optimizer(lambda _: 0.1, name="muon", weight_decay=0.0, clip=0.0, lr_factors={"scale": 0.5})
    grads = {"kernel": jnp.asarray(grad), "scale": jnp.array([1.0, -1.0, 2.0])}
    update, _ = jax.jit(optimizer.update)(grads, optimizer.init(tree), tree)
    left, _, right = np.linalg.svd(grad.reshape(-1, shape[-1]), full_matrices=False)
    rotated = left.T @ np.asarray(update["kernel"]).reshape(-1, shape[-1]) @ right.T  # diagonal, about -1
    rotated /= 0.1 * max(1, shape[-1] / np.prod(shape[:-1])) ** 0.5
    assert ((np.diag(rotated) > -1.3) & (np.diag(rotated) < -0.6)).all()
    np.testing.assert_allclose(rotated - np.diag(np.diag(rotated)), 0, atol=0.01)
    adam = 0.1 * steps.ADAM_SHARE * 0.5 * (1 + 0.9 / 1.9)  # Nesterov's first step looks one step ahead
    np.testing.assert_allclose(update["scale"], [-adam, adam, -adam], rtol=1e-5)


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ConfigError, match="optimizer='lion' is not known; choose one of adamw, muon"):
        steps.make_optimizer(lambda _: 0.1, name="lion", weight_decay=0.0, clip=0.0, lr_factors={})


def test_frozen_parameters_have_no_moments_no_gradient_and_do_not_move():
    state, history = run(3)
    start = params()
    np.testing.assert_array_equal(state.params["a"]["frozen"]["kernel"], start["a"]["frozen"]["kernel"])
    np.testing.assert_array_equal(state.ema["a"]["frozen"]["kernel"], start["a"]["frozen"]["kernel"])
    shapes = {leaf.shape for leaf in jax.tree.leaves(state.optimizer)}
    assert (2, 2) not in shapes and (2, 3) in shapes
    trained = np.concatenate([np.ravel(start["a"]["kernel"]), start["ab"]["bias"]])
    np.testing.assert_allclose(history[0]["grad_norm"], np.linalg.norm(trained), rtol=1e-6)


def test_steps_count_within_the_stage_and_draw_anew_by_the_global_one():
    state, history = run(3)
    assert [int(metrics["local"]) for metrics in history] == [0, 1, 2] and int(state.step) == 103
    assert len({float(metrics["draw"]) for metrics in history}) == 3
    assert float(run(1, first_step=101)[1][0]["draw"]) == float(history[1]["draw"])


class Mean:
    """A mean over samples: a network of one wide layer, a float and a count in aux."""

    name, lr_factors = "mean", {}

    def loss(self, params, batch, rng, step, aux):
        hidden = jnp.sin(batch["x"] @ params["in"])
        error = jnp.mean(jnp.square(jnp.tanh(hidden) @ params["out"] - batch["y"]))
        aux = {"mean": 0.9 * aux["mean"] + 0.1 * error, "count": aux["count"] + 1}
        return error, ({"error": error}, aux)


def mean_step(microbatches, samples=64, width=512):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape) / 8, jnp.float32)  # noqa: E731
    params = {"in": draw(16, width), "out": draw(width, 3)}
    batch = {"x": 8 * draw(samples, 16), "y": draw(samples, 3)}
    # small steps: where a gradient is nearly nought, AdamW makes a whole one of its rounding
    schedule = steps.make_schedule(lr=0.01, final_lr=0.001, warmup=2, steps=6)
    optimizer = steps.make_optimizer(schedule, name="adamw", weight_decay=0.1, clip=1.0, lr_factors={})
    step = steps.make_step(Mean(), optimizer, schedule, ema=0.3, first_step=0, microbatches=microbatches)
    aux = {"mean": jnp.float32(1), "count": jnp.int32(0)}
    state = TrainState(jnp.int32(0), params, params, optimizer.init(params), aux)
    return jax.jit(step).lower(state, batch, jax.random.key(0)).compile(), state, batch


def test_microbatches_make_the_step_of_the_whole_batch_with_the_memory_of_a_part():
    compiled, memory = {}, {}
    for parts in (1, 4):
        step, state, batch = mean_step(parts)
        memory[parts] = step.memory_analysis().temp_size_in_bytes
        for _ in range(3):
            state, metrics = step(state, batch, jax.random.key(0))
        compiled[parts] = state, metrics
    (whole, expected), (summed, metrics) = compiled.values()
    for name in expected:
        np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-5, err_msg=name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), summed, whole)
    assert int(summed.aux["count"]) == 3
    assert memory[4] < 0.6 * memory[1]


def test_the_longest_whole_prefix_wins():
    assert steps.lr_factor("a/kernel", FACTORS) == 0.5
    assert steps.lr_factor("a/frozen/kernel", FACTORS) == 0.0
    assert steps.lr_factor("ab/bias", FACTORS) == 1.0


def test_split_and_merge_are_inverse():
    trainable, frozen = steps.split(params(), FACTORS)
    assert set(frozen) == {"a"} and set(frozen["a"]) == {"frozen"}
    jax.tree.map(np.testing.assert_array_equal, steps.merge(trainable, frozen), params())


def test_factors_that_fit_nothing_are_refused():
    with pytest.raises(ConfigError, match="'decoder', but no parameter starts so; there are a, ab"):
        steps.check_lr_factors(params(), {"decoder": 0.0})
    with pytest.raises(ConfigError, match="freezes every parameter"):
        steps.check_lr_factors(params(), {"a": 0.0, "ab": 0.0})
