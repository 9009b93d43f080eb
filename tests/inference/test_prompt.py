"""From words, and from the condition head, to prompt ids."""

import numpy as np
import pytest

from lure_jax.inference.prompt import AUTO, SLOTS, answer_auto, keeps_colour, leaves_nothing, read_prompt
from lure_jax.text.conditions import condition_id
from lure_jax.text.prompts import PROMPT_CONDITIONS, prompt_ids
from lure_jax.text.source import Text


def _conditions(ids):
    return [int(PROMPT_CONDITIONS[i]) for i in ids if i >= 0]


def _ids(*pairs):
    return [condition_id(*pair) for pair in pairs]


def test_auto_fills_all_slots():
    read = read_prompt(" Auto ")
    assert (read.visible == AUTO).all() and (read.infrared == AUTO).all() and read.visible.shape == (SLOTS,)
    assert read.warnings == ()


def test_one_sentence_speaks_of_both_images():
    read = read_prompt("dark and noisy, the thermal has stripes")
    assert _conditions(read.visible) == _ids(("visible", "low_light"), ("visible", "noise"))
    assert _conditions(read.infrared) == _ids(("infrared", "stripe"))


def test_a_sentence_of_one_modality_speaks_of_that_image():
    read = read_prompt({"infrared": "noisy"})
    assert _conditions(read.infrared) == _ids(("infrared", "noise"))
    assert (read.visible == AUTO).all()


def test_all_conditions_at_once_fit():
    read = read_prompt("dark, over-exposed, hazy, rainy, snowy, noisy and blurry photo")
    assert _conditions(read.visible) == list(range(1, 8))


def test_unknown_words_are_reported_once():
    read = read_prompt("a flimsy photo")
    assert len(read.warnings) == 1 and "flimsy" in read.warnings[0]


@pytest.mark.parametrize("prompt", [{"thermal": "noise"}, {"visible": None}, 3, None])
def test_what_is_no_prompt(prompt):
    with pytest.raises(ValueError, match="^The prompt "):
        read_prompt(prompt)


def _answer(logits, modality, ids=None, threshold=0.5):
    full = np.full((1, 13), -9, np.float32)
    for (owner, name), value in logits.items():
        full[0, condition_id(owner, name)] = value
    ids = np.full((1, SLOTS), AUTO, np.int32) if ids is None else ids
    return np.asarray(answer_auto(ids, full, np.full(13, threshold, np.float32), modality))[0]


def test_auto_takes_the_two_most_probable_of_its_modality():
    logits = {("visible", "haze"): 1, ("visible", "rain"): 3, ("visible", "blur"): 2, ("infrared", "noise"): 9}
    answer = _answer(logits, "visible")
    assert answer.tolist() == prompt_ids(_ids(("visible", "rain"), ("visible", "blur")), SLOTS).tolist()


def test_auto_takes_clean_below_the_threshold_and_ignores_the_clean_columns():
    logits = {("infrared", "stripe"): 0.4, ("infrared", "clean"): 9, ("visible", "clean"): 9}
    assert _answer(logits, "infrared", threshold=0.6).tolist() == prompt_ids([8], SLOTS).tolist()
    assert _answer(logits, "infrared", threshold=0.59).tolist() == prompt_ids([11], SLOTS).tolist()


def test_asked_prompts_are_left_alone():
    ids = prompt_ids([3], SLOTS)[None]
    assert _answer({("visible", "rain"): 9}, "visible", ids=ids).tolist() == ids[0].tolist()


def test_a_visible_image_keeps_its_colours_without_damage_or_as_far_as_it_is_repaired():
    clean = np.flatnonzero(PROMPT_CONDITIONS == condition_id("visible", "clean"))
    dark = clean[-1] + 1
    noise, blur = (np.searchsorted(PROMPT_CONDITIONS, condition_id("visible", name)) for name in ("noise", "blur"))
    asked = [[clean[0], -1], [clean[-1], -1], [dark, -1], [clean[0], dark], [-1, -1], [noise, -1], [blur, noise],
             [noise, dark]]  # fmt: skip
    params = {"encoder": {"shrinking": {"share": np.array([1.2])}, "sharpening": {"share": np.array([0.9])}}}
    np.testing.assert_allclose(keeps_colour(np.array(asked), params), [1, 1, 0, 0, 1, 1, 0.9, 0])
    params["encoder"]["shrinking"]["share"] = np.array([-0.1])
    np.testing.assert_array_equal(keeps_colour(np.array([[noise, -1]]), params), [0])
    text = Text(np.zeros((2, 77, 4)), np.ones((2, 77), bool), None)
    np.testing.assert_array_equal(keeps_colour(text, params), [0, 0])


def test_nothing_is_left_to_the_network_where_a_part_that_finishes_repairs_all_that_is_named():
    def first(modality, name):
        return np.searchsorted(PROMPT_CONDITIONS, condition_id(modality, name))

    noise, dark, blur, rain = (first("visible", name) for name in ("noise", "low_light", "blur", "rain"))
    stripe, grain = first("infrared", "stripe"), first("infrared", "noise")
    clean = np.flatnonzero(PROMPT_CONDITIONS == condition_id("visible", "clean"))[0]
    asked = np.array([[noise, -1], [stripe, -1], [stripe, grain], [blur, -1], [blur, dark], [clean, -1], [rain, -1]])
    parts = {part: {"share": np.array([1.0])} for part in ("shrinking", "lifting")}
    parts |= {"levelling": {"share": {"kernel": np.ones((2, 2))}}, "sharpening": {"share": np.array([0.9])}}
    params = {"encoder": parts}
    np.testing.assert_allclose(leaves_nothing(asked, params), [0, 1, 0, 0.9, 0, 0, 0])
    parts["levelling"]["share"]["kernel"] = np.zeros((2, 2))
    np.testing.assert_array_equal(leaves_nothing(asked[1:2], params), [0])
    parts["levelling"]["share"]["kernel"] = np.eye(2)
    params |= {part: {"share": np.array([1.0])} for part in ("denoising", "deweathering")}
    np.testing.assert_allclose(leaves_nothing(asked, params), [1, 1, 1, 0.9, 0, 0, 0])
    text = Text(np.zeros((2, 77, 4)), np.ones((2, 77), bool), None)
    np.testing.assert_array_equal(leaves_nothing(text, params), [0, 0])
