"""The arms of the ablation: what differs in each, that it builds and steps, and the table of the benchmark."""

import importlib.util
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import train
from configs import ablations, common
from lure_jax.data import sources
from lure_jax.models import registry as models
from lure_jax.models.tga import ChannelAffine
from lure_jax.objectives import registry as objectives
from lure_jax.text.conditions import condition_id
from lure_jax.text.prompts import draw_prompts, prompt_ids
from lure_jax.text.source import Text, text_source
from lure_jax.training.step import check_lr_factors

NETWORKS = ("channel_affine", "no_inner_residual", "one_hot")  # no_align is another loss
BENCHMARK = pathlib.Path(__file__).resolve().parents[1] / "benchmarks" / "ablations.py"


def _arm(arm, data_dir):
    """Model, stages and the shapes of the parameters, over eight synthetic scenes."""
    config = ablations.get_config(arm)
    debug = "synthetic_scenes/debug"
    config.data.data_dir, config.data.restoration = data_dir, (common.clean(debug, "visible", "visible", ("noise",)),)
    config.data.fusion = (common.pairs(debug),)
    for name in config.recipe:
        config.stages[name].update(dict(steps=1, batch=2, crop=48, warmup=0))
    sources.prepare(config)
    model = models.build(config.model)
    params = nn.unbox(jax.eval_shape(lambda key: models.initialise(model, key), jax.random.key(0)))
    return model, train.build_stages(config, model), params


def _count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("arm", ablations.ARMS)
def test_an_arm_builds_all_stages(arm, data_dir):
    model, stages, params = _arm(arm, data_dir)
    for stage in stages:
        batch = next(stage.make_data())
        objective = objectives.build(stage.config, model)
        check_lr_factors(params, objective.lr_factors)
        loss, _ = jax.eval_shape(lambda p, o=objective, b=batch: o.loss(p, b, jax.random.key(0), 0, None), params)
        assert loss.shape == ()


def test_arms_have_nearly_equal_parameters_and_equal_schedules():
    counts, schedules = {}, {}
    for arm in ablations.ARMS:
        config = ablations.get_config(arm)
        model = models.build(config.model)
        counts[arm] = _count(jax.eval_shape(lambda key, m=model: models.initialise(m, key), jax.random.key(0)))
        assert config.stages.space.align == (0 if arm == "no_align" else 0.1)
        del config.stages.space["align"]
        schedules[arm] = config.stages.to_json(), config.data.to_json()
    assert all(abs(count / counts["tga"] - 1) < 0.03 for count in counts.values()), counts
    assert len(set(schedules.values())) == 1
    with pytest.raises(ValueError, match="'tgb' is no arm"):
        ablations.get_config("tgb")


@pytest.mark.slow
@pytest.mark.parametrize("arm", NETWORKS)
def test_a_step_lowers_the_error(arm):
    """The network of each arm with one level alone, which is quickly compiled."""
    model = models.build(ablations.get_config(arm).model)
    model = model.clone(sizes=model.sizes._replace(widths=(16,), blocks=(1,), heads=(1,)))
    image = jax.random.uniform(jax.random.key(1), (1, 16, 16, 3))
    ids = jnp.asarray(prompt_ids([condition_id("visible", "noise")], 2))[None]

    @jax.jit
    def error(params):
        def loss(params):
            text = model.apply({"params": params}, ids, method="tokens")
            return jnp.square(
                model.apply({"params": params}, image, text, method="restore") - image[..., ::-1, :]
            ).mean()

        return jax.value_and_grad(loss)(params)

    params = nn.unbox(jax.jit(lambda key: models.initialise(model, key))(jax.random.key(0)))
    before, gradient = error(params)
    length = sum(float(jnp.vdot(leaf, leaf)) for leaf in jax.tree.leaves(gradient)) ** 0.5
    after, _ = error(jax.tree.map(lambda p, g: p - 1e-2 / length * g, params, gradient))
    assert np.isfinite(length) and float(after) < float(before)
    text = "channel_affine" if arm == "channel_affine" else "tga"
    assert np.abs(gradient["encoder"]["bottom"][text]["modulation"]["kernel"]).max() > 0


def test_a_channel_affine_is_one_for_all_pixels_and_the_mean_of_the_tokens_present():
    rng = np.random.default_rng(0)
    x, tokens = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 3, 4, 6), (1, 5, 7)))
    text = Text(jnp.asarray(tokens), jnp.asarray([[True, True, False, True, False]]), None)
    variables = nn.unbox(ChannelAffine().init(jax.random.key(0), x, text))
    np.testing.assert_array_equal(ChannelAffine().apply(variables, x, text), x)  # W2 starts at zero
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32), variables["params"])
    mean = tokens[0, [0, 1, 3]].mean(0)
    hidden = np.asarray(jax.nn.gelu(mean @ params["hidden"]["kernel"] + params["hidden"]["bias"]))
    gamma, beta = np.split(hidden @ params["modulation"]["kernel"] + params["modulation"]["bias"], 2)
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    expected = x + gamma * (normed * params["norm"]["scale"] + params["norm"]["bias"]) + beta
    np.testing.assert_allclose(ChannelAffine().apply({"params": params}, x, text), expected, rtol=2e-4, atol=2e-4)


def test_one_hot_tells_conditions_apart_and_paraphrases_alike():
    noise, haze = (condition_id("visible", name) for name in ("noise", "haze"))
    ids = [prompt_ids([noise], 2), prompt_ids([haze, noise], 2)]
    ids += [draw_prompts(np.random.default_rng(seed), [noise], 2) for seed in range(3)]
    assert len({tuple(row) for row in ids[2:]}) > 1
    source = text_source("one_hot", 64)
    assert not source.init(jax.random.key(0), np.stack(ids))
    text = source.apply({}, np.stack(ids))
    np.testing.assert_array_equal(text.mask[:2], [[True, False], [True, True]])
    assert (np.asarray(text.tokens[2:]) == np.asarray(text.tokens[:1])).all() and (text.tokens[0, 1] == 0).all()
    np.testing.assert_array_equal(text.tokens[1, 1], text.tokens[0, 0])
    assert float(text.tokens[1, 0] @ text.tokens[1, 1]) == 0 and float(jnp.linalg.norm(text.tokens[0, 0])) == 8


def test_the_table_has_an_arm_a_column_and_half_the_range_of_the_seeds():
    spec = importlib.util.spec_from_file_location("ablations_benchmark", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    rows = [{"arm": arm, "seed": seed, "steps": 2, "psnr/restored": 20.0 + seed, "fusion/VIF": 0.5}
            for arm in ("one_hot", "tga") for seed in (0, 1)]  # fmt: skip
    assert benchmark.summary(rows) == [
        {"score": "psnr/restored", "tga": "20.50 ± 0.5", "one_hot": "20.50 ± 0.5"},
        {"score": "fusion/VIF", "tga": "0.500 ± 0", "one_hot": "0.500 ± 0"},
    ]
    short = benchmark.recipe("tga", 3, 16, "data")
    assert (short.stages.space.steps, short.stages.rule.steps, short.seed) == (14, 2, 3)
