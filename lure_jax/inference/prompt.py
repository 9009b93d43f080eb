"""From what a user asks for, or nothing, to the prompt ids the network reads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lure_jax.text.asked import ASKING, BEFORE
from lure_jax.text.conditions import CONDITIONS, MODALITIES, VISIBLE, clean_id
from lure_jax.text.prompts import PROMPT_CONDITIONS, prompt_ids, resolve, warning
from lure_jax.text.source import Text

SLOTS = len(VISIBLE) - 1  # all conditions of one image at once; tokens that are masked out cost next to nothing
AUTO = -2  # in every slot: let the condition head choose
AUTO_CONDITIONS = 2  # as many as one training sample carries
FINISHING = ("levelling", "sharpening", "denoising")  # the way through the latents costs more than it still repairs
_FIRST_PROMPT = np.array([prompt_ids([c], 1)[0] for c in range(len(CONDITIONS))])


class Prompt(NamedTuple):
    """What to tell the network.

    Attributes:
      visible: (SLOTS,) prompt ids of the visible image, or AUTO in all slots; for a model whose text source is "clip"
        a free sentence is its `Text`, tokens (77,E) and mask (77,).
      infrared: the same of the infrared image.
      warnings: sentences about words that were not understood.
    """

    visible: Int[np.ndarray, "7"] | Text
    infrared: Int[np.ndarray, "7"] | Text
    warnings: tuple[str, ...]


def read_prompt(prompt: str | Mapping[str, str], encode: Callable[[str, Sequence[int]], Text] | None = None) -> Prompt:
    """Resolves what a user wrote to conditions, or encodes it.

    Args:
      prompt: "auto"; or one sentence about both images, where a modality it does not mention counts as clean; or
        {"visible": ..., "infrared": ...}, each "auto" or a sentence about that image, "auto" where left out.
      encode: sentence, and the conditions that its words name of the image -> `Text` without a batch axis; a sentence
        about both images is then read by both.

    Returns:
      The prompt ids or encoded sentences, and the warnings to show.

    Raises:
      ValueError: a key of the mapping is no modality, or a value is no text.
    """
    if isinstance(prompt, Mapping):
        for key, sentence in prompt.items():
            if key not in MODALITIES or not isinstance(sentence, str):
                raise ValueError(
                    f"The prompt has {key!r}: {sentence!r}; it takes sentences for {' and '.join(MODALITIES)}."
                )
        sentences = {modality: prompt.get(modality, "auto") for modality in MODALITIES}
        # The sentence is about one image, so that image is what it speaks of unless it says otherwise.
        understood = {modality: f"{modality} image: {sentence}" for modality, sentence in sentences.items()}
    elif isinstance(prompt, str):
        sentences = understood = dict.fromkeys(MODALITIES, prompt)
    else:
        raise ValueError(f"The prompt is {prompt!r}; it must be 'auto', a sentence, or one sentence per modality.")
    ids, warnings = {}, []
    for modality, sentence in sentences.items():
        if _is_auto(sentence):
            ids[modality] = np.full(SLOTS, AUTO, np.int32)
            continue
        resolved = resolve(understood[modality])
        conditions = getattr(resolved, modality)
        if encode:
            ids[modality] = encode(sentence, conditions)
            continue
        ids[modality] = prompt_ids(conditions, SLOTS)
        warnings.append(warning(resolved))
    return Prompt(ids["visible"], ids["infrared"], tuple(dict.fromkeys(w for w in warnings if w)))


def answer_auto(
    ids: Int[Array, "B P"], logits: Float[Array, "B 13"], thresholds: Float[Array, "13"], modality: str
) -> Int[Array, "B P"]:
    """Puts what the condition head found in the place of AUTO: at most the two most probable conditions, or clean.

    Args:
      ids: prompt ids, -1 = none, AUTO in all slots of an image to be judged.
      logits: of the condition head.
      thresholds: the probability above which a condition counts as present.
      modality: of the images.

    Returns:
      Prompt ids without AUTO.
    """
    own = np.array(conditions_of(modality))
    probability = jax.nn.sigmoid(logits[:, own])
    score = jnp.where(probability > thresholds[own], probability, -1.0)
    best, index = jax.lax.top_k(score, AUTO_CONDITIONS)
    found = jnp.where(best > 0, jnp.asarray(_FIRST_PROMPT[own])[index], -1)
    nothing = jnp.arange(AUTO_CONDITIONS) == 0
    clean = jnp.where(nothing, _FIRST_PROMPT[clean_id(modality)], -1)
    found = jnp.where(best[:, :1] > 0, found, clean)
    found = jnp.pad(found, ((0, 0), (0, ids.shape[1] - AUTO_CONDITIONS)), constant_values=-1)
    return jnp.where(ids == AUTO, found, ids)


def keeps_colour(asked: Int[Array, "B P"] | Text, params: Mapping[str, Any]) -> Float[Array, "B"]:
    """How much of the result's chroma is to be that of the visible image, as it goes down the encoder.

    All of it where nothing is wrong with that image; where all that is wrong with it is repaired before that, as much
    as the parts that do so act; else nothing.

    Args:
      asked: of the visible image, without AUTO; of sentences that CLIP has encoded nothing is known.
      params: of a `Lure`.
    """
    return _repaired(asked, params, BEFORE, clean=1.0)


def leaves_nothing(asked: Int[Array, "B P"] | Text, params: Mapping[str, Any]) -> Float[Array, "B"]:
    """How much of a restored image is to be the image as it goes down the encoder: all where that is finished.

    Of what is named all must be repaired by `FINISHING` parts, as much as they act (chosen on validation images:
    stripes lose 0.6 dB, blur 0.3 dB and noise 0.1 to 0.4 dB by the latents; rain, snow and haze gain by them).

    Args:
      asked: of the image, without AUTO; of sentences that CLIP has encoded nothing is known.
      params: of a `Lure`.
    """
    return _repaired(asked, params, FINISHING, clean=0.0)


def _repaired(asked, params: Mapping[str, Any], finishing: tuple[str, ...], clean: float) -> Float[Array, "B"]:
    if isinstance(asked, Text):
        return jnp.zeros(asked.mask.shape[:1])  # not len: it may be symbolic
    trees, shares = {**params["encoder"], **params}, []
    for condition in CONDITIONS:
        parts = [part for part in ASKING.get(condition.name, ()) if part in BEFORE and part in trees]
        share = jnp.stack([_acts(trees[part]["share"]) for part in parts]).min() if {*parts} & {*finishing} else 0.0
        shares.append(clean if condition.name == "clean" else jnp.clip(share, 0, 1))
    return jnp.where(asked < 0, 1, jnp.stack(shares)[jnp.asarray(PROMPT_CONDITIONS)[asked.clip(0)]]).min(1)


def _acts(share) -> Float[Array, ""]:
    """A part's share, where that is one number; else whether it has learnt to tell it from the image."""
    return jnp.any(share["kernel"]).astype(jnp.float32) if isinstance(share, Mapping) else share[0]


def conditions_of(modality: str) -> tuple[int, ...]:
    """Ids of the conditions the head can find in an image of that modality: all but "clean"."""
    clean = clean_id(modality)
    return tuple(c for c, condition in enumerate(CONDITIONS) if condition.modality == modality and c != clean)


def is_auto(prompt: Prompt) -> bool:
    """Whether nothing is asked for of either image."""
    return bool((prompt.visible == AUTO).all() and (prompt.infrared == AUTO).all())


def _is_auto(sentence: str) -> bool:
    return sentence.strip().lower() == "auto"
