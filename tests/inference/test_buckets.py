"""Shapes that images are padded to: few, fitting, and with little waste."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lure_jax.inference import buckets

SIDES = st.integers(1, 4000)


@given(st.tuples(SIDES, SIDES))
def test_a_single_image_wastes_at_most_an_eighth_a_side(size):
    shape = buckets.round_up(size, 8)
    for side, padded in zip(size, shape, strict=True):
        assert side <= padded <= max(side * 1.125, side + 7) and padded % 8 == 0


@pytest.mark.parametrize("size", [(480, 640), (768, 1024), (1024, 1280), (8, 8), (512, 512)])
def test_common_sizes_are_not_padded(size):
    assert buckets.round_up(size, 8) == size


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=90))
def test_a_plan_is_small_and_holds_every_image(sizes):
    shapes = buckets.plan(sizes, 8)
    assert len(shapes) <= buckets.LIMIT and all(side % 8 == 0 for shape in shapes for side in shape)
    for size in sizes:
        shape = buckets.choose(size, shapes, 8)
        assert shape in shapes and shape[0] >= size[0] and shape[1] >= size[1]


def test_equal_sizes_are_one_shape_with_no_padding_beyond_the_multiple():
    assert buckets.plan([(301, 500)] * 9, 8) == ((304, 504),)


def test_up_to_six_sizes_stay_apart_and_the_closest_merge():
    sizes = [(64, 64), (128, 128), (256, 256), (512, 512), (1024, 1024), (64, 256)]
    assert set(buckets.plan(sizes, 8)) == set(sizes)
    merged = buckets.plan([*sizes, (64, 72)], 8)
    assert (64, 72) in merged and (64, 64) not in merged and len(merged) == 6


def test_a_size_outside_the_plan_gets_its_own_shape():
    assert buckets.choose((480, 640), ((64, 64),), 8) == (480, 640)


def test_a_thousand_sizes_are_planned_at_once_with_moderate_waste():
    rng = np.random.default_rng(0)
    sizes = [tuple(size) for size in rng.integers(200, 1200, (1000, 2)).tolist()]
    shapes = buckets.plan(sizes, 8)
    padded = sum(np.prod(buckets.choose(size, shapes, 8)) for size in sizes)
    assert padded < 2 * sum(h * w for h, w in sizes)


def test_padding_repeats_the_border_to_the_multiple_and_then_adds_masked_zeros():
    image = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1) + 1
    padded = buckets.pad(image, (8, 12), 4)[0, :, :, 0]
    assert padded[:4, :4].tolist() == [[1, 2, 3, 3], [4, 5, 6, 6], [4, 5, 6, 6], [4, 5, 6, 6]]
    assert padded[4:].sum() == 0 and padded[:, 4:].sum() == 0
    mask = buckets.pixel_mask(1, (2, 3), (8, 12), 4)[0]
    assert mask[:4, :4].all() and mask.sum() == 16
