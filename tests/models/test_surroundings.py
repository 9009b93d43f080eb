"""The fuser's view of what is around a pixel."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.models.fuser import Surroundings, enlarge
from lure_jax.models.sizes import POOL


@pytest.mark.parametrize("factor", [2, 4])
def test_enlarges_as_jax_does(factor):
    x = np.random.default_rng(0).random((2, 5, 7, 3), np.float32)
    expected = jax.image.resize(x, (2, 5 * factor, 7 * factor, 3), "linear")
    np.testing.assert_allclose(enlarge(x, factor), expected, atol=1e-6)


def test_padding_is_not_mixed_in():
    x = np.random.default_rng(0).random((1, 5, 7, 3), np.float32)
    beyond = ((0, 0), (0, 3), (0, 2), (0, 0))
    mask = np.pad(np.full((1, 5, 7, 1), 0.3, np.float32), beyond)
    padded = enlarge(np.pad(x, beyond, constant_values=9), 4, mask)
    np.testing.assert_allclose(padded[:, :20, :28], enlarge(x, 4), atol=1e-6)


def test_surroundings_start_at_zero_and_then_reach_across_pixels_of_the_quarter():
    x = np.random.default_rng(0).random((1, 8 * POOL, 8 * POOL, 6), np.float32)
    network = Surroundings(features=3, width=8, expansion=1.5)
    params = nn.unbox(network.init(jax.random.key(0), x))
    assert not np.any(network.apply(params, x))
    params["params"]["out"]["kernel"] = jnp.ones((8, 3))
    other = np.where(np.arange(8 * POOL)[:, None, None] < POOL, 0, x)
    rows = np.abs(network.apply(params, x) - network.apply(params, other)).max((0, 2, 3))
    assert rows[3 * POOL - 1] > 1e-4  # two depthwise 3x3 away from the change
    assert not rows[4 * POOL :].any()
