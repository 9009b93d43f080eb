"""Which conditions a text names, by prompt ids and by sentences, and which parts of the network act then alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.inference import weights
from lure_jax.inference.prompt import read_prompt
from lure_jax.text.asked import ASKING, BEFORE, PARTS, asked_by, asked_by_conditions, asks_for, naming
from lure_jax.text.conditions import CONDITIONS, condition_id
from lure_jax.text.prompts import PROMPT_CONDITIONS, prompt_ids
from lure_jax.text.source import Text

CASES = {"lifting": ("visible", "haze"), "toning": ("visible", "low_light"), "shrinking": ("visible", "noise"),
         "sharpening": ("visible", "blur"), "levelling": ("infrared", "stripe")}  # fmt: skip


def named(asked):
    return {(c.modality, c.name) for c, is_named in zip(CONDITIONS, asked, strict=True) if is_named}


def acting(asked):
    return {part for part in PARTS if asks_for(np.asarray(asked)[None], part)[0]}


@pytest.mark.parametrize("prompt", [0, 25, 60, 139])
def test_a_prompt_names_its_condition(prompt):
    condition = CONDITIONS[PROMPT_CONDITIONS[prompt]]
    assert named(asked_by(jnp.asarray([[prompt, -1]]))[0]) == {(condition.modality, condition.name)}


def test_a_condition_asks_for_its_parts_in_both_modalities():
    assert {part for parts in ASKING.values() for part in parts} == set(PARTS)
    for index, condition in enumerate(CONDITIONS):
        asked = asked_by(jnp.asarray(prompt_ids([index], 3))[None])
        parts = set(ASKING.get(condition.name, ()))
        assert acting(asked[0]) == parts
        np.testing.assert_array_equal(asked_by_conditions([index]), asked[0])
        assert bool(asks_for(asked, *BEFORE)[0]) == bool(parts & set(BEFORE))
        assert naming(asked, "noise", "rain")[0].tolist() == [condition.name == "noise", condition.name == "rain"]


def test_what_one_of_several_prompts_names_is_named_and_absent_ones_name_nothing():
    clean, haze, noise, rain = (condition_id("visible", name) for name in ("clean", "haze", "noise", "rain"))
    prompts = np.stack([prompt_ids(list(c), 3) for c in ((haze, rain, noise), (rain,), (clean,))])
    expected = [{"lifting", "shrinking", "denoising", "deweathering"}, {"deweathering"}, set()]
    for asked in (asked_by(jnp.asarray(prompts)), asked_by(prompts)):
        assert [acting(row) for row in asked] == expected
    assert isinstance(asks_for(asked_by(prompts), "denoising"), np.ndarray)  # known while a network is traced
    assert isinstance(naming(asked_by(prompts), "rain"), np.ndarray)


def test_a_sentence_that_clip_reads_asks_by_its_words():
    def encode(sentence, conditions):
        return Text(np.zeros((77, 4)), np.ones(77, bool), asked_by_conditions(conditions))

    read = read_prompt("a foggy, grainy photo; the thermal camera has stripes", encode)
    assert named(read.visible.asked) == {("visible", "haze"), ("visible", "noise")}
    assert named(read.infrared.asked) == {("infrared", "stripe")}
    read = read_prompt({"visible": "out of focus", "infrared": "out of focus"}, encode)
    assert acting(read.visible.asked) == acting(read.infrared.asked) == {"sharpening"}
    assert not acting(read_prompt("something else entirely", encode).visible.asked)


@pytest.fixture(scope="module")
def released():
    return weights.load("lure_tiny")


@pytest.mark.parametrize("part, condition", CASES.items())
def test_a_part_changes_nothing_but_what_asks_for_it(released, part, condition):
    image = jnp.asarray(np.random.default_rng(0).random((1, 32, 32, 3), np.float32)) * 0.3
    encoder = {**released.params["encoder"], part: jax.tree.map(lambda p: p + 0.1, released.params["encoder"][part])}

    @jax.jit
    def restored(params, ids):
        return released.model.apply(
            {"params": params}, image, ids, method=lambda model, x, ids: model.restore(x, model.tokens(ids))
        )

    def change(*condition):
        ids = jnp.asarray(prompt_ids([condition_id(*condition)], 2))[None]
        return jnp.abs(restored({**released.params, "encoder": encoder}, ids) - restored(released.params, ids)).max()

    assert change(*condition) > 0.005
    for other in {("visible", name) for name in ("clean", "noise", "blur", "rain")} - {condition}:
        assert change(*other) == 0
