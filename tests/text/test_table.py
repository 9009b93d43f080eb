"""The table source: which tokens a prompt reads, its mask, its parameter and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lure_jax.text.prompts import PROMPT_CONDITIONS
from lure_jax.text.source import text_source
from lure_jax.text.table import TableText

IDS = np.array([[0, -1], [25, 139]], np.int32)


@pytest.fixture(scope="module")
def variables():
    return TableText(width=6, tokens_per_condition=4).init(jax.random.key(0), IDS)


def test_tokens_are_the_rows_of_the_conditions(variables):
    text = TableText(width=6, tokens_per_condition=4).apply(nn.unbox(variables), IDS)
    table = np.asarray(nn.unbox(variables)["params"]["table"])
    expected = np.zeros((2, 8, 6), np.float32)
    expected[0, :4] = table[PROMPT_CONDITIONS[0]]
    expected[1, :4], expected[1, 4:] = table[PROMPT_CONDITIONS[25]], table[PROMPT_CONDITIONS[139]]
    np.testing.assert_array_equal(text.tokens, expected)
    np.testing.assert_array_equal(text.mask, [[True] * 4 + [False] * 4, [True] * 8])


def test_parameter_has_unit_spread_and_named_axes():
    variables = text_source("table", 512).init(jax.random.key(1), IDS)
    table = variables["params"]["table"]
    assert table.names == ("condition", "token", "text")
    assert table.unbox().shape == (13, 8, 512)
    assert float(jnp.std(table.unbox())) == pytest.approx(1.0, abs=0.02)


def test_only_conditions_in_the_batch_receive_a_gradient(variables):
    def total(params):
        return TableText(width=6, tokens_per_condition=4).apply({"params": params}, IDS).tokens.sum()

    gradient = jax.grad(total)(nn.unbox(variables)["params"])["table"]
    expected = np.zeros(13)
    np.add.at(expected, PROMPT_CONDITIONS[[0, 25, 139]], 1)
    np.testing.assert_array_equal(gradient[:, 0, 0], expected)


def test_unknown_source_is_named():
    with pytest.raises(ValueError, match="'word2vec' is not a text source; known are clip, one_hot, table."):
        text_source("word2vec", 8)
