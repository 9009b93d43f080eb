"""The condition head made anew: it learns from statistics as they are, and nothing else moves."""

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from random_model import MODEL, random_params

from lure_jax.data import pipeline
from lure_jax.evaluation import condition_fit, restoration
from lure_jax.models import registry
from lure_jax.models.lure import ConditionHead
from lure_jax.text.conditions import CONDITIONS, MODALITIES, condition_id


def seen(count, seed):
    """Three statistics of very different size; noise is where the first is high, haze where the second is low."""
    rng = np.random.default_rng(seed)
    units, shift = np.array([1e-3, 1.0, 50.0], np.float32), np.array([0.7, -6.0, 300.0], np.float32)
    values = rng.standard_normal((count, 3)).astype(np.float32)
    values[:, :2] += 0.5 * np.sign(values[:, :2])  # no image lies on the boundary
    conditions = np.zeros((count, len(CONDITIONS)), np.float32)
    conditions[:, condition_id("visible", "noise")] = values[:, 0] > 0
    conditions[:, condition_id("visible", "haze")] = values[:, 1] < 0
    return condition_fit.Seen(values * units + shift, conditions, np.zeros(count, np.int32))


def test_it_learns_from_statistics_as_they_are():
    head = condition_fit.fit(seen(2000, 0), seed=0)
    unseen = seen(500, 1)
    answers = np.asarray(ConditionHead().apply({"params": head}, unseen.statistics)) > 0
    own = [index for index, c in enumerate(CONDITIONS) if c.modality == "visible" and c.name != "clean"]
    assert (answers == unseen.conditions)[:, own].mean() > 0.99


def test_the_same_samples_and_seed_give_the_same_head(monkeypatch):
    monkeypatch.setattr(condition_fit, "ROUNDS", 2)
    heads = [condition_fit.fit(seen(600, 0), seed) for seed in (0, 0, 1)]
    jax.tree.map(np.testing.assert_array_equal, *heads[:2])
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, heads[1:]), strict=True))


def test_what_is_measured_is_what_the_network_describes(recipe):
    model, params = registry.build(recipe.model), random_params(config=MODEL)
    found = condition_fit.collect(model, params, recipe)
    assert found.statistics.shape[0] == len(found.conditions) == len(found.modality) == 2 * 16
    assert set(found.modality) <= set(range(len(MODALITIES)))
    stage = recipe.stages.space.copy_and_resolve_references()
    stage.update(dict(batch=condition_fit.SAMPLES, crop=48))
    batch = next(pipeline.make_iterator(recipe, stage, seed=recipe.seed + 48))
    for name, conditions, rows in (
        ("degraded", "conditions", slice(16, 16 + condition_fit.SAMPLES)),
        ("reference", "reference_conditions", slice(16 + condition_fit.SAMPLES, None)),
    ):
        file = jnp.asarray(restoration.to_uint8(batch[name]) / 255, jnp.float32)
        described = model.apply({"params": params}, file, method="describe")
        np.testing.assert_allclose(found.statistics[rows], described.statistics, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(found.conditions[rows], batch[conditions])
    head = ConditionHead().apply({"params": params["encoder"]["condition"]}, described.statistics)
    np.testing.assert_allclose(described.logits, head, rtol=1e-4, atol=1e-4)


def test_haze_without_colour_is_not_learnt_from(recipe):
    model, params = registry.build(recipe.model), random_params(config=MODEL)
    recipe = recipe.copy_and_resolve_references()
    recipe.data.restoration = tuple(row for row in recipe.data.restoration if row.modality == "visible")
    recipe.data.update(dict(infrared_share=0.0, grey_share=1.0, wrong_prompt=0.0))
    found = condition_fit.collect(model, params, recipe)
    assert not found.conditions[:, condition_id("visible", "haze")].any() and found.conditions.any()
    recipe.data.grey_share = 0.0
    assert condition_fit.collect(model, params, recipe).conditions[:, condition_id("visible", "haze")].any()


def test_only_the_head_changes(recipe):
    model, params = registry.build(recipe.model), random_params(config=MODEL)
    before, after = flatten_dict(params), flatten_dict(condition_fit.fitted(model, params, recipe))
    assert before.keys() == after.keys()
    changed = {path for path in before if np.abs(before[path] - after[path]).max() > 0}
    assert changed == {path for path in before if path[:2] == ("encoder", "condition")}
    recipe = recipe.copy_and_resolve_references()
    recipe.condition_head.samples = 0
    assert condition_fit.fitted(model, params, recipe) is params
