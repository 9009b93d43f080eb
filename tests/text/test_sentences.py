"""Free sentences: accuracy on kept-out ones, and the rules for modality, negation and unknown words."""

import pytest
from held_out_sentences import HELD_OUT

from lure_jax.text.conditions import CONDITIONS, clean_id, condition_id
from lure_jax.text.prompts import PARAPHRASES, PROMPTS, resolve, warning


def ids(modality: str, names: str) -> tuple[int, ...]:
    return tuple(sorted(condition_id(modality, n) for n in names.split())) or (clean_id(modality),)


def test_held_out_sentences_are_many_and_not_training_paraphrases():
    sentences = {sentence.lower() for sentence, _, _ in HELD_OUT}
    assert len(sentences) == len(HELD_OUT) >= 130
    assert sentences.isdisjoint(prompt.lower() for prompt in PROMPTS)


def test_accuracy_on_held_out_sentences():
    wrong = [
        (sentence, resolve(sentence))
        for sentence, visible, infrared in HELD_OUT
        if resolve(sentence)[:2] != (ids("visible", visible), ids("infrared", infrared))
    ]
    accuracy = 1 - len(wrong) / len(HELD_OUT)
    print(f"exact match on {len(HELD_OUT)} held-out sentences: {accuracy:.1%}")
    assert accuracy >= 0.95, wrong


@pytest.mark.parametrize("condition", CONDITIONS, ids="/".join)
def test_paraphrases_resolve_to_their_condition_and_are_fully_understood(condition):
    for sentence in PARAPHRASES[condition]:
        expected = {"visible": (clean_id("visible"),), "infrared": (clean_id("infrared"),)}
        expected[condition.modality] = (condition_id(*condition),)
        assert resolve(sentence) == (expected["visible"], expected["infrared"], ()), sentence


def test_case_spacing_and_typographic_apostrophes_do_not_matter():
    assert resolve("  It ISN\u2019T\n dark,  but NOISY ") == resolve("it isn't dark, but noisy")


def test_unknown_words_are_listed_in_order_without_stop_words():
    assert resolve("the image is pixelated, dark and solarised").unknown == ("pixelated", "solarised")


@pytest.mark.parametrize(
    ("sentence", "word"), [("the photo has stripes", "stripes"), ("overexposed thermal image", "overexposed")]
)
def test_a_fault_of_the_other_modality_is_unknown_not_moved(sentence, word):
    assert resolve(sentence) == ((clean_id("visible"),), (clean_id("infrared"),), (word,))


def test_warning_names_the_words_and_the_known_conditions():
    text = warning(resolve("a frobnicated photo"))
    assert "frobnicated" in text and "over exposure" in text and "infrared: clean, low contrast" in text
    assert "\n" not in text and text.endswith(".")
    assert warning(resolve("a dark photo")) is None
