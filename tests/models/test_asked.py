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

ASKING = {"lifting": "haze", "toning": "low_light"}


def test_the_token_that_asks_most_decides_and_absent_ones_do_not():
    tokens = jnp.asarray([[[1.0, 0], [3.0, 0], [9.0, 0]], [[-1.0, 0], [-2.0, 0], [9.0, 0]]])
    text = Text(tokens, jnp.asarray([[True, True, False]] * 2))
    params = {"params": {"token": {"kernel": jnp.array([[1.0, -1.0], [0.0, 0.0]]), "bias": jnp.zeros(2)}}}
    found = Asked().apply(params, text)
    assert tuple(found) == PARTS
    np.testing.assert_allclose([found[part][:, 0, 0, 0] for part in PARTS], [[3, 0], [0, 2]])


@pytest.fixture(scope="module")
def released():
    return weights.load("lure_tiny")


def asked(released, *conditions):
    ids = jnp.asarray(prompt_ids([condition_id(*c) for c in conditions], 2))[None]
    found = released.model.apply(
        {"params": released.params}, ids, method=lambda model, ids: model.encoder.asked(model.tokens(ids))
    )
    return {part: float(far.squeeze()) for part, far in found.items()}


def test_in_the_released_model_haze_asks_for_lifting_and_low_light_for_toning(released):
    for part, name in ASKING.items():
        found = asked(released, ("visible", name))
        assert found[part] > 0.5 and sum(found.values()) == found[part]
        assert asked(released, ("visible", name), ("visible", "noise"))[part] == found[part]
    assert not any(sum(asked(released, c).values()) for c in CONDITIONS if c.name not in ASKING.values())


@pytest.mark.parametrize("part, name", ASKING.items())
def test_a_part_changes_nothing_but_what_asks_for_it(released, part, name):
    image = jnp.asarray(np.random.default_rng(0).random((1, 32, 32, 3), np.float32)) * 0.3
    encoder = {**released.params["encoder"], part: jax.tree.map(lambda p: p + 0.1, released.params["encoder"][part])}

    def restored(params, *condition):
        ids = jnp.asarray(prompt_ids([condition_id(*condition)], 2))[None]
        return released.model.apply(
            {"params": params}, image, ids, method=lambda model, x, ids: model.restore(x, model.tokens(ids))
        )

    for other in ("clean", "noise", "blur", "rain"):
        same = restored(released.params, "visible", other)
        np.testing.assert_array_equal(same, restored({**released.params, "encoder": encoder}, "visible", other))
    changed = restored({**released.params, "encoder": encoder}, "visible", name)
    assert jnp.abs(changed - restored(released.params, "visible", name)).max() > 0.01
