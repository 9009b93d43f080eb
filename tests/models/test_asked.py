"""Which texts have a part of the network act, and that it rests otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.inference import weights
from lure_jax.models.asked import PARTS, Asked
from lure_jax.text.conditions import CONDITIONS, condition_id
from lure_jax.text.prompts import prompt_ids
from lure_jax.text.source import Text

ASKING = {  # part: modality, condition
    "lifting": ("visible", "haze"),
    "toning": ("visible", "low_light"),
    "shrinking": ("visible", "noise"),
    "sharpening": ("visible", "blur"),
    "levelling": ("infrared", "stripe"),
}
ASKING_OF = {name: part for part, (_, name) in ASKING.items()}
TWICE = {("infrared", "noise"), ("infrared", "blur")}  # conditions of both modalities ask for one part


def test_the_token_that_asks_most_decides_and_absent_ones_do_not():
    tokens = jnp.asarray([[[1.0, 0], [3.0, 0], [9.0, 0]], [[-1.0, 0], [-2.0, 0], [9.0, 0]]])
    text = Text(tokens, jnp.asarray([[True, True, False]] * 2))
    others = len(PARTS) - 2
    kernel = jnp.array([[1.0, -1.0] + [0.0] * others, [0.0] * len(PARTS)])
    found = Asked().apply({"params": {"token": {"kernel": kernel, "bias": jnp.zeros(len(PARTS))}}}, text)
    assert tuple(found) == PARTS
    np.testing.assert_allclose([far[:, 0, 0, 0] for far in found.values()], [[3, 0], [0, 2]] + [[0, 0]] * others)


@pytest.fixture(scope="module")
def released():
    return weights.load("lure_tiny")


def asked(released, *conditions):
    ids = jnp.asarray(prompt_ids([condition_id(*c) for c in conditions], 2))[None]
    found = released.model.apply(
        {"params": released.params}, ids, method=lambda model, ids: model.encoder.asked(model.tokens(ids))
    )
    return {part: float(far.squeeze()) for part, far in found.items()}


@pytest.mark.parametrize("part, condition", ASKING.items())
def test_in_the_released_model_a_condition_asks_for_a_part(released, part, condition):
    found = asked(released, condition)
    assert found[part] > 0.5 and sum(found.values()) == found[part]
    other = ("visible", "rain") if condition[0] == "visible" else ("infrared", "low_contrast")
    assert asked(released, condition, other)[part] == found[part]


def test_all_other_conditions_ask_for_nothing(released):
    for condition in {(c.modality, c.name) for c in CONDITIONS} - {*ASKING.values()}:
        found = asked(released, condition)
        expected = {ASKING_OF[condition[1]]} if condition in TWICE else set()
        assert {part for part, far in found.items() if far} == expected


@pytest.mark.parametrize("part, condition", ASKING.items())
def test_a_part_changes_nothing_but_what_asks_for_it(released, part, condition):
    image = jnp.asarray(np.random.default_rng(0).random((1, 32, 32, 3), np.float32)) * 0.3
    encoder = {**released.params["encoder"], part: jax.tree.map(lambda p: p + 0.1, released.params["encoder"][part])}

    def restored(params, *condition):
        ids = jnp.asarray(prompt_ids([condition_id(*condition)], 2))[None]
        return released.model.apply(
            {"params": params}, image, ids, method=lambda model, x, ids: model.restore(x, model.tokens(ids))
        )

    for other in {("visible", name) for name in ("clean", "noise", "blur", "rain")} - {condition}:
        same = restored(released.params, *other)
        np.testing.assert_array_equal(same, restored({**released.params, "encoder": encoder}, *other))
    changed = restored({**released.params, "encoder": encoder}, *condition)
    assert jnp.abs(changed - restored(released.params, *condition)).max() > 0.005
