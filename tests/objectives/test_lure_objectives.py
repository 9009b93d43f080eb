"""LURE's objectives on a small batch: terms, targets, and who receives a gradient."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from lure_jax.metrics.color import rgb_to_ycbcr, ycbcr_to_rgb
from lure_jax.models import registry as models
from lure_jax.objectives import registry
from lure_jax.objectives.unified import image_loss
from lure_jax.text.conditions import clean_id, condition_id, multi_hot
from lure_jax.text.prompts import prompt_ids
from lure_jax.training.step import check_lr_factors


def stage(objective, **changes):
    return ConfigDict(dict(objective=objective, steps=10) | changes)


@pytest.fixture(scope="module")
def model():
    return models.build(ConfigDict(dict(name="lure", preset="tiny", text="table", dtype="float32", remat=False)))


@pytest.fixture(scope="module")
def params(model):
    fresh = nn.unbox(jax.jit(lambda key: models.initialise(model, key))(jax.random.key(0)))
    leaves, tree = jax.tree.flatten(fresh)
    rng = np.random.default_rng(0)
    return tree.unflatten([leaf + 0.03 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves])


def images(channels, seed, side=16):
    return jnp.asarray(np.random.default_rng(seed).random((2, side, side, channels)), jnp.float32)


@pytest.fixture(scope="module")
def restoration():
    noise, stripe = condition_id("visible", "noise"), condition_id("infrared", "stripe")
    return {
        "degraded": images(3, 0), "reference": images(3, 1), "modality": jnp.array([0, 1]),
        "conditions": jnp.asarray(np.stack([multi_hot([noise]), multi_hot([stripe])])),
        "reference_conditions": jnp.zeros((2, 13)),
        "prompt_ids": jnp.asarray(np.stack([prompt_ids([noise], 2), prompt_ids([stripe], 2)])),
    }  # fmt: skip


@pytest.fixture(scope="module")
def fusion():
    batch = {}
    for modality, channels in (("visible", 3), ("infrared", 1)):
        noise = prompt_ids([condition_id(modality, "noise")], 2)
        clean = prompt_ids([clean_id(modality)], 2)
        batch[modality] = images(channels, channels, 48)
        batch[f"{modality}_reference"] = batch[modality].at[0].set(images(channels, 7, 48)[0])  # the first is degraded
        batch[f"{modality}_prompt_ids"] = jnp.asarray(np.stack([noise, clean]))
    return batch


LEARNING = ("text", "fuser")  # the gradient of all parts takes a minute to compile
RUNS = {}  # one compilation for each objective and its options


def evaluate(objective, model, params, batch, trained=(), **changes):
    run = RUNS.get((objective, str(changes)))
    parts = trained or tuple(params)
    if run is None:
        built = registry.build(stage(objective, **changes), model)

        def loss(some, params, batch):
            return built.loss(params | some, batch, jax.random.key(0), 5, built.begin(None))

        run = RUNS[objective, str(changes)] = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, (metrics, _)), gradient = run({part: params[part] for part in parts}, params, batch)
    return float(value), {k: float(v) for k, v in metrics.items()}, gradient


def size(tree):
    return sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(tree))


def test_space_is_the_weighted_sum_of_its_terms(model, params, restoration):
    value, m, gradient = evaluate("lure_space", model, params, restoration)
    expected = m["restoration"] + 0.3 * m["pseudo"] + 0.1 * (m["align"] + 0.5 * m["dist"]) + 0.05 * m["condition"]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert size(gradient["fuser"]) == 0 < min(size(gradient[part]) for part in ("encoder", "decoder", "text"))


def test_a_clean_pair_has_no_distance(model, params, restoration):
    clean = jnp.asarray(np.stack([prompt_ids([clean_id(m)], 2) for m in ("visible", "infrared")]))
    batch = restoration | {"degraded": restoration["reference"], "prompt_ids": clean}
    _, m, _ = evaluate("lure_space", model, params, batch)
    assert m["align"] < 1e-5 and m["dist"] < 1e-5
    np.testing.assert_allclose(m["restoration"], m["pseudo"], rtol=1e-5)


def test_tokens_restores_and_trains_the_text_alone(model, params, restoration):
    value, metrics, gradient = evaluate("lure_tokens", model, params, restoration)
    space = evaluate("lure_space", model, params, restoration)[1]
    assert value == metrics["restoration"] == pytest.approx(space["restoration"], rel=1e-5)
    assert metrics["psnr_restored"] == pytest.approx(space["psnr_restored"], rel=1e-5)
    factors = registry.build(stage("lure_tokens"), model).lr_factors
    assert set(factors.values()) == {0.0} and set(params) - set(factors) == {"text"}
    assert asking(gradient) == {condition_id("visible", "noise"), condition_id("infrared", "stripe")}


def asking(gradient):
    """The conditions whose tokens have a gradient."""
    return set(np.flatnonzero(np.abs(np.asarray(gradient["text"]["table"])).max((1, 2))))


def test_tokens_of_named_conditions_follow_and_a_part_learns_with_them(model, params, restoration):
    changes = dict(conditions=("stripe",), part="levelling")
    _, _, gradient = evaluate("lure_tokens", model, params, restoration, **changes)
    assert asking(gradient) == {condition_id("infrared", "stripe")}
    factors = registry.build(stage("lure_tokens", **changes), model).lr_factors
    check_lr_factors(params, factors)
    assert factors == {
        "encoder": 0.0, "decoder": 0.0, "fuser": 0.0, "encoder/levelling": 1.0, "encoder/sharpening/blur": 0.0,
    }  # fmt: skip
    assert size(gradient["encoder"]["levelling"]) > 0
    alone = registry.build(stage("lure_tokens", conditions=(), part="lifting"), model).lr_factors
    check_lr_factors(params, alone)
    assert alone["text"] == 0 and {name for name, factor in alone.items() if factor} == {"encoder/lifting"}


def test_repair_is_the_log_error_of_the_repaired_image_and_trains_its_part_alone(model, params, restoration):
    value, metrics, gradient = evaluate("lure_repair", model, params, restoration, part="levelling")
    text = model.apply({"params": params}, restoration["prompt_ids"], method="tokens")
    repaired = model.apply({"params": params}, restoration["degraded"], text, method="repair")
    errors = np.square(np.asarray(repaired) - np.asarray(restoration["reference"])).mean((1, 2, 3))
    np.testing.assert_allclose(value, np.log(errors + 1e-5).mean(), rtol=1e-5)
    assert value == metrics["log_error"] and metrics["psnr_repaired"] == pytest.approx(-10 * np.log10(errors).mean())
    assert size(gradient["encoder"]["levelling"]) > 0 == size(gradient["decoder"])
    factors = registry.build(stage("lure_repair", part="levelling"), model).lr_factors
    check_lr_factors(params, factors)
    assert [name for name, factor in factors.items() if factor] == ["encoder/levelling"] and factors["text"] == 0
    for part in ("denoising", "toning", ""):
        with pytest.raises(ValueError, match=f"part='{part}' repairs no image; choose levelling, sharpening"):
            registry.build(stage("lure_repair", part=part), model)


def test_what_refines_rests_unless_it_is_the_part():
    small = models.build(ConfigDict(dict(name="lure", preset="small", text="table", dtype="float32", remat="none")))
    shapes = jax.eval_shape(lambda key: nn.unbox(models.initialise(small, key)), jax.random.key(0))
    for objective in ("lure_tokens", "lure_rule", "lure_joint", "lure_clean", "lure_conditions"):
        factors = registry.build(stage(objective), small).lr_factors
        check_lr_factors(shapes, factors)
        assert factors["denoising"] == factors["deweathering"] == 0
    factors = registry.build(stage("lure_repair", part="denoising"), small).lr_factors
    check_lr_factors(shapes, factors)
    assert [name for name, factor in factors.items() if factor] == ["denoising"]


def test_what_tells_a_blur_rests_while_all_else_learns(model, params):
    space = registry.build(stage("lure_space"), model).lr_factors
    assert space == {"fuser": 0.0, "encoder/sharpening/blur": 0.0}
    factors = registry.build(stage("lure_tokens", conditions=("blur",), part="sharpening"), model).lr_factors
    check_lr_factors(params, factors)
    check_lr_factors(params, space)
    assert factors["encoder/sharpening"] == 1 and factors["encoder/sharpening/blur"] == 0


def test_an_unknown_part_or_condition_is_named(model):
    with pytest.raises(ValueError, match="conditions has 'low light'; choose of .*, low_light, "):
        registry.build(stage("lure_tokens", conditions=("low light",)), model)
    with pytest.raises(ValueError, match="part='gate' is no part of the model; choose toning, levelling"):
        registry.build(stage("lure_tokens", part="gate"), model)


def test_rule_and_joint_sum_and_freeze(model, params, fusion):
    value, m, gradient = evaluate("lure_rule", model, params, fusion, ("fuser",))
    expected = 10 * m["intensity"] + 10 * m["gradient"] + m["similarity"] + 12 * m["colour"] + 0.1 * m["latent"]
    expected += 0.5 * m["information"] + 2 * m["edges"] + 0.2 * m["differences"]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert size(gradient["fuser"]) > 0
    rule = registry.build(stage("lure_rule"), model)
    assert rule.lr_factors == {"encoder": 0.0, "text": 0.0, "decoder": 0.0}
    assert registry.build(stage("lure_joint"), model).lr_factors["decoder"] == 0.1


def test_rule_takes_weights_from_its_stage(model, params, fusion):
    others = ("intensity", "gradient", "colour", "information", "edges", "differences")
    weights = dict.fromkeys(others, 0.0) | {"similarity": 2.0}
    value, m, _ = evaluate("lure_rule", model, params, fusion, ("fuser",), loss=weights)
    np.testing.assert_allclose(value, 2 * m["similarity"] + 0.1 * m["latent"], rtol=1e-5)


def test_targets_are_the_clean_images(model, params, fusion):
    _, m, _ = evaluate("lure_rule", model, params, fusion, ("fuser",))
    swapped = fusion | {"visible_reference": fusion["visible"], "infrared_reference": fusion["infrared"]}
    _, other, _ = evaluate("lure_rule", model, params, swapped, ("fuser",))
    assert abs(m["intensity"] - other["intensity"]) > 1e-3
    assert m["luma"] == other["luma"]  # the fused image itself is made from the inputs


def test_clean_is_the_rule_with_what_reproducing_clean_images_costs(model, params, fusion):
    value, m, _ = evaluate("lure_clean", model, params, fusion, LEARNING, reproduction=20.0)
    rule, of_rule, _ = evaluate("lure_rule", model, params, fusion, ("fuser",))
    assert value == pytest.approx(rule + 20 * (m["reproduction_visible"] + m["reproduction_infrared"]), rel=1e-5)
    assert {name: m[name] for name in of_rule} == pytest.approx(of_rule, rel=1e-4)
    ids = jnp.asarray(np.stack([prompt_ids([clean_id("infrared")], 2)] * 2))
    text = model.apply({"params": params}, ids, method="tokens")
    grey = jnp.repeat(fusion["infrared_reference"], 3, -1)
    reproduced = jax.jit(functools.partial(model.apply, method="restore"))({"params": params}, grey, text)
    assert m["reproduction_infrared"] == pytest.approx(float(image_loss(reproduced, grey)), rel=1e-4)


def test_clean_trains_the_fuser_and_the_tokens_of_clean_images_alone(model, params, fusion):
    _, _, gradient = evaluate("lure_clean", model, params, fusion, LEARNING, reproduction=20.0)
    table = np.abs(np.asarray(gradient["text"]["table"])).max((1, 2))
    assert set(np.flatnonzero(table)) == {clean_id("visible"), clean_id("infrared")}
    factors = registry.build(stage("lure_clean"), model).lr_factors
    assert factors == {"encoder": 0.0, "decoder": 0.0} and size(gradient["fuser"]) > 0


def test_conditions_compares_with_what_the_clean_pair_is_fused_into(model, params, fusion):
    value, m, _ = evaluate("lure_conditions", model, params, fusion, ("text",), restoration=2.0)
    expected = m["fused"] + 2 * (m["restoration_visible"] + m["restoration_infrared"])
    assert value == pytest.approx(expected, rel=1e-5)

    @functools.partial(jax.jit, static_argnums=2)
    def fuse(params, batch, suffix, prompts):
        apply = functools.partial(model.apply, {"params": params})
        texts = [apply(ids, method="tokens") for ids in prompts]
        images = [batch[f"{m}{suffix}"] for m in ("visible", "infrared")]
        latents = [apply(image, text, method="encode") for image, text in zip(images, texts, strict=True)]
        return apply(apply(*latents, method="fuse")[0], method="decode")

    clean = [jnp.asarray([prompt_ids([clean_id(m)], 2)] * 2) for m in ("visible", "infrared")]
    own = rgb_to_ycbcr(fuse(params, fusion, "_reference", clean))
    target = ycbcr_to_rgb(own.at[..., 1:].set(rgb_to_ycbcr(fusion["visible_reference"])[..., 1:]))
    bad = fuse(params, fusion, "", [fusion[f"{m}_prompt_ids"] for m in ("visible", "infrared")])
    assert m["fused"] == pytest.approx(float(image_loss(bad, jnp.clip(target, 0, 1))), rel=1e-3)


def test_conditions_trains_the_tokens_of_conditions_without_real_pairs_alone(model, params, fusion):
    blur = {
        f"{m}_prompt_ids": jnp.asarray([prompt_ids([condition_id(m, "blur")], 2)] * 2) for m in ("visible", "infrared")
    }
    for batch, trained in (
        (fusion | blur, {condition_id(m, "blur") for m in ("visible", "infrared")}),
        (fusion, set()),
    ):
        _, _, gradient = evaluate("lure_conditions", model, params, batch, ("text",), restoration=2.0)
        table = np.abs(np.asarray(gradient["text"]["table"])).max((1, 2))
        assert set(np.flatnonzero(table)) == trained  # noise, the second batch's, has real pairs
    factors = registry.build(stage("lure_conditions"), model).lr_factors
    assert factors == dict.fromkeys(("encoder", "decoder", "fuser"), 0.0)


@pytest.mark.parametrize(
    "objective, changes", [("lure_clean", {}), ("lure_conditions", {}), ("lure_tokens", {"conditions": ("noise",)})]
)
def test_conditions_need_tokens_of_their_own(objective, changes):
    one_hot = models.build(ConfigDict(dict(name="lure", preset="tiny", text="one_hot", dtype="float32", remat=False)))
    with pytest.raises(ValueError, match=f"one_hot' has no tokens .*{objective}.* choose config.model.text='table'"):
        registry.build(stage(objective, **changes), one_hot)


def test_crops_too_small_for_the_loss_are_named(model, params, fusion):
    small = {k: v[:, :40, :40] if v.ndim == 4 else v for k, v in fusion.items()}
    with pytest.raises(ValueError, match=r"crop=40 is too small for the fusion loss: at least 41 pixels"):
        evaluate("lure_rule", model, params, small, loss={})


def test_an_unknown_objective_lists_the_known():
    with pytest.raises(ValueError, match="objective='gan' is not known; choose lure_space"):
        registry.build(stage("gan"), None)
