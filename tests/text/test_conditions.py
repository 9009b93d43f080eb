"""The vocabulary of conditions: order, ids and multi-hot targets."""

import numpy as np
import pytest

from lure_jax.text.conditions import CONDITIONS, INFRARED, VISIBLE, clean_id, condition_id, multi_hot


def test_visible_comes_first_and_ids_are_positions():
    assert [c.name for c in CONDITIONS] == [*VISIBLE, *INFRARED]
    assert [condition_id(*c) for c in CONDITIONS] == list(range(13))
    assert (clean_id("visible"), clean_id("infrared")) == (0, 8)


def test_multi_hot_leaves_clean_at_zero():
    np.testing.assert_array_equal(multi_hot([0, 1, 8, 12]), np.eye(13, dtype=np.float32)[[1, 12]].sum(0))
    assert multi_hot([]).dtype == np.float32


@pytest.mark.parametrize("index", [-1, 13])
def test_multi_hot_refuses_unknown_ids(index):
    with pytest.raises(ValueError, match=f"^{index} is not a condition id; ids run from 0 to 12.$"):
        multi_hot([index])


def test_unknown_condition_is_named():
    with pytest.raises(ValueError, match="infrared/rain is not a condition; known are visible/clean"):
        condition_id("infrared", "rain")
