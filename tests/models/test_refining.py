"""The network that finishes a repair: what it reads, where it begins, its borders, and who has it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from lure_jax.models import registry
from lure_jax.models.refining import Refining
from lure_jax.text.asked import REFINING
from lure_jax.text.conditions import condition_id
from lure_jax.text.prompts import prompt_ids

RNG = np.random.default_rng(0)
GIVEN = RNG.random((2, 24, 32, 3)).astype(np.float32)
NOISE = np.array([[1.0, 0, 0]] * 2, np.float32)


@pytest.fixture(scope="module")
def alive():
    params = nn.unbox(Refining((8, 12)).init(jax.random.key(0), GIVEN, GIVEN, NOISE))
    return jax.tree.map(lambda p: p + 0.05 * RNG.standard_normal(p.shape).astype(np.float32), params)


def added(params, image=GIVEN, given=GIVEN, named=NOISE, mask=None):
    return np.asarray(Refining((8, 12)).apply(params, image, given, named, mask))


def test_it_begins_at_nought_and_the_share_multiplies(alive):
    def with_share(share):
        return {"params": alive["params"] | {"share": jnp.array([share])}}

    assert not np.any(added(nn.unbox(Refining((8, 12)).init(jax.random.key(0), GIVEN, GIVEN, NOISE))))
    np.testing.assert_allclose(added(with_share(0.5)), 0.5 * added(with_share(1.0)), atol=1e-6)
    assert np.abs(added(with_share(1.0))).max() > 1e-3


def test_it_sees_the_image_given_what_was_repaired_and_what_is_named(alive):
    here = added(alive)
    assert np.abs(added(alive, given=0.9 * GIVEN, image=0.9 * GIVEN) - here).max() > 1e-4
    assert np.abs(added(alive, image=0.9 * GIVEN) - here).max() > 1e-4
    rain = np.array([[1.0, 0, 0], [0, 1.0, 0]], np.float32)
    difference = np.abs(added(alive, named=rain) - here).max((1, 2, 3))
    assert difference[0] == 0 < difference[1]


def test_padding_does_not_count(alive):
    beyond = ((0, 0), (0, 8), (0, 16), (0, 0))
    mask = np.pad(np.ones((2, 24, 32, 1), np.float32), beyond)
    # What padding holds is nought after the first unshuffling only where the given image is the middle grey
    padded = np.pad(GIVEN, beyond, constant_values=0.7)
    found = added(alive, padded, padded, mask=mask)[:, :24, :32]
    np.testing.assert_allclose(found, added(alive), atol=1e-5)


@pytest.fixture(scope="module")
def small():
    model = registry.build(ConfigDict(dict(name="lure", preset="small", text="table", dtype="float32", remat="none")))
    params = nn.unbox(jax.jit(lambda key: registry.initialise(model, key))(jax.random.key(0)))
    refining = {part: params[part] for part in REFINING}
    refining = jax.tree.map(lambda p: p + 0.05 * RNG.standard_normal(p.shape).astype(np.float32), refining)
    return model, params, params | refining


@pytest.mark.parametrize("condition, part", [
    ("clean", ""), ("blur", ""), ("noise", "denoising"), ("rain", "deweathering"), ("snow", "deweathering"),
])  # fmt: skip
def test_one_acts_where_the_text_names_noise_the_other_where_it_names_rain_or_snow(small, condition, part):
    model, fresh, alive = small
    ids = jnp.asarray(prompt_ids([condition_id("visible", condition)], 2))[None]

    @jax.jit
    def repaired(params):
        text = model.apply({"params": params}, ids, method="tokens")
        return model.apply({"params": params}, GIVEN[:1], text, method="repair")

    for acting in REFINING:
        difference = np.abs(repaired(fresh | {acting: alive[acting]}) - repaired(fresh)).max()
        assert difference > 1e-3 if acting == part else difference == 0


def test_the_small_preset_is_the_tiny_one_and_these(small):
    model, params, _ = small
    tiny = registry.build(ConfigDict(dict(name="lure", preset="tiny", text="table", dtype="float32", remat="none")))
    shapes = jax.eval_shape(lambda key: nn.unbox(registry.initialise(tiny, key)), jax.random.key(0))
    rest = {prefix: tree for prefix, tree in params.items() if prefix not in REFINING}
    assert jax.tree.map(jnp.shape, rest) == jax.tree.map(jnp.shape, shapes)
    assert model.repairs == (*tiny.repairs, *REFINING)
