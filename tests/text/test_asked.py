"""Which conditions have a part of the network act, by prompt ids and by sentences, and that it rests otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.inference import weights
from lure_jax.inference.prompt import read_prompt
from lure_jax.text.asked import ASKING, BEFORE, PARTS, asked_by, asked_by_conditions, asks_repair
from lure_jax.text.conditions import CONDITIONS, condition_id
from lure_jax.text.prompts import PROMPT_CONDITIONS, prompt_ids
from lure_jax.text.source import Text

CASES = {"lifting": ("visible", "haze"), "toning": ("visible", "low_light"), "shrinking": ("visible", "noise"),
         "sharpening": ("visible", "blur"), "levelling": ("infrared", "stripe")}  # fmt: skip


def named(asked):
    return {part for part, is_asked in zip(PARTS, asked, strict=True) if is_asked}


@pytest.mark.parametrize("prompt", [0, 25, 60, 139])
def test_a_prompt_asks_for_its_conditions_part(prompt):
    part = ASKING.get(CONDITIONS[PROMPT_CONDITIONS[prompt]].name)
    assert named(asked_by(jnp.asarray([[prompt, -1]]))[0]) == ({part} if part else set())


def test_every_condition_with_a_part_asks_for_it_in_both_modalities():
    assert set(CASES) == set(ASKING.values()) == set(PARTS)
    for index, condition in enumerate(CONDITIONS):
        asked = asked_by(jnp.asarray(prompt_ids([index], 3))[None])
        assert named(asked[0]) == ({ASKING[condition.name]} if condition.name in ASKING else set())
        np.testing.assert_array_equal(asked_by_conditions([index]), asked[0])
        assert bool(asks_repair(asked)[0]) == (ASKING.get(condition.name) in BEFORE)


def test_what_one_of_several_prompts_asks_for_is_asked_and_absent_ones_ask_for_nothing():
    haze, noise, rain = (condition_id("visible", name) for name in ("haze", "noise", "rain"))
    prompts = np.stack([prompt_ids(list(c), 3) for c in ((haze, rain, noise), (rain,), (noise, rain))])
    expected = [{"lifting", "shrinking"}, set(), {"shrinking"}]
    assert [named(row) for row in asked_by(jnp.asarray(prompts))] == expected


def test_a_sentence_that_clip_reads_asks_by_its_words():
    def encode(sentence, conditions):
        return Text(np.zeros((77, 4)), np.ones(77, bool), asked_by_conditions(conditions))

    read = read_prompt("a foggy, grainy photo; the thermal camera has stripes", encode)
    assert named(read.visible.asked) == {"lifting", "shrinking"} and named(read.infrared.asked) == {"levelling"}
    read = read_prompt({"visible": "out of focus", "infrared": "out of focus"}, encode)
    assert named(read.visible.asked) == named(read.infrared.asked) == {"sharpening"}
    assert not named(read_prompt("something else entirely", encode).visible.asked)


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
