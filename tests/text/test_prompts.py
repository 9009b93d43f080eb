"""Training paraphrases, their numbering and how they are drawn."""

import subprocess
import sys

import numpy as np
import pytest

from lure_jax.text.conditions import CONDITIONS, condition_id
from lure_jax.text.prompts import PARAPHRASES, PROMPT_CONDITIONS, PROMPTS, draw_prompts, prompt_ids


def test_each_condition_has_ten_paraphrases_and_no_sentence_occurs_twice():
    assert set(PARAPHRASES) == set(CONDITIONS)
    assert min(map(len, PARAPHRASES.values())) >= 10
    assert len({sentence.lower() for sentence in PROMPTS}) == len(PROMPTS)


def test_numbering_agrees_with_the_paraphrases():
    assert PROMPT_CONDITIONS.shape == (len(PROMPTS),)
    for sentence, condition in zip(PROMPTS, PROMPT_CONDITIONS, strict=True):
        assert sentence in PARAPHRASES[CONDITIONS[condition]]


def test_draws_repeat_with_the_seed_and_reach_every_paraphrase():
    conditions = [condition_id("visible", "haze"), condition_id("infrared", "stripe")]
    draws = [draw_prompts(np.random.default_rng(seed), conditions, 3) for seed in range(200)]
    np.testing.assert_array_equal(draws[7], draw_prompts(np.random.default_rng(7), conditions, 3))
    assert draws[0].dtype == np.int32
    for slot, condition in enumerate(conditions):
        drawn = {PROMPTS[draw[slot]] for draw in draws}
        assert drawn == set(PARAPHRASES[CONDITIONS[condition]])
    assert {int(draw[2]) for draw in draws} == {-1}


def test_prompt_ids_are_the_first_paraphrases():
    ids = prompt_ids([3, 11], slots=3)
    assert [PROMPTS[i] for i in ids[:2]] == [PARAPHRASES[CONDITIONS[3]][0], PARAPHRASES[CONDITIONS[11]][0]]
    assert ids[2] == -1


@pytest.mark.parametrize(
    ("conditions", "message"),
    [([], "has 0 entries"), ([1, 2, 3], "has 3 entries"), ([13], "13 is not a condition id")],
)
def test_what_does_not_fit_the_slots_is_refused(conditions, message):
    with pytest.raises(ValueError, match=message):
        prompt_ids(conditions, slots=2)
    with pytest.raises(ValueError, match=message):
        draw_prompts(np.random.default_rng(0), conditions, slots=2)


def test_prompts_load_without_jax():
    code = "import sys, lure_jax.text.prompts; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
