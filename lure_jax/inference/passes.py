"""The network as a few compiled passes, which hand on what they measure over the whole image.

One program for everything would be no faster, and holds the buffers of both encoders at once.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lure_jax.inference.prompt import SLOTS, answer_auto, keeps_colour, leaves_nothing
from lure_jax.metrics.color import with_chroma
from lure_jax.models.blocks import STATISTICS
from lure_jax.models.lure import Described, Latent, Lure
from lure_jax.models.registry import FusionModel
from lure_jax.text.asked import asked_by, asks_for
from lure_jax.text.conditions import clean_id
from lure_jax.text.prompts import prompt_ids
from lure_jax.text.source import Text

Collection = Mapping[str, Any]  # a Flax collection: module -> ... -> array
Statistics = dict[str, Collection]  # of each pass: "visible/down", "/repaired", "/up", "infrared/...", "decode"


class Network(NamedTuple):
    """A model with its parameters, and the probabilities (13,) above which `auto` takes a condition for present."""

    model: FusionModel
    params: Any
    thresholds: Float[Array, "13"]

    def __call__(
        self,
        images: Mapping[str, Float[Array, "B H W C"]],
        prompt: Mapping[str, Int[Array, "B P"] | Text],
        mask: Float[Array, "B H W"],
        given: Statistics | None = None,
        measure: bool = False,
        strength: float = 1.0,
    ) -> tuple[Float[Array, "B H W 3"], Statistics]:
        """Fuses two images, or restores one.

        Args:
          images: "visible" (B,H,W,3) and "infrared" (B,H,W,1) to be fused, or one of them, in [0,1]; the sides are
            multiples of the model's.
          prompt: of each image.
          mask: (B,H,W), 0 on padding.
          given: statistics of a whole image, taken instead of those of the pixels at hand.
          measure: also return the statistics of the pixels at hand.
          strength: below 1, the share of the prompt's latents in a mean with those of the prompt "clean".

        Returns:
          The image in [0,1]; a fused one with the visible one's chroma where that is asked for as clean, or after
          `repair` where no more is asked for (and a share of it where `strength` is below 1); a restored one as
          `repair` leaves it where that is all (see `leaves_nothing`). And the statistics
          measured, {} if not asked for; beside them the condition head's logits (B,13), as "visible/logits".
        """
        given = given or {}
        if not isinstance(self.model, Lure):
            return _two_stream(self.model, self.params, images["visible"], images["infrared"], mask), {}
        measured, latents, kept = {}, [], None
        for modality, image in images.items():
            image = jnp.broadcast_to(image, (*image.shape[:3], 3))  # as `repair` gives it: one program for either
            described, measured[f"{modality}/down"] = self.describe(image, mask, given.get(f"{modality}/down"), measure)
            measured[f"{modality}/logits"] = described.logits
            ids = prompt[modality]
            if not isinstance(ids, Text):
                ids = _answer(ids, described.logits, self.thresholds, modality)
            if strength < 1:
                up, asked = given.get(f"{modality}/clean"), _clean(modality, len(image))
                clean, measured[f"{modality}/clean"] = _lift(
                    self.model, self.params, described, asked, mask, up, measure
                )
            repaired = image
            if _repairs(self.model, ids):
                del described
                repaired, own = self.repair(image, ids, mask), given.get(f"{modality}/repaired")
                described, measured[f"{modality}/repaired"] = self.describe(repaired, mask, own, measure)
            if modality == "visible" or len(images) == 1:
                image = repaired if strength == 1 else image + strength * (repaired - image)
                if len(images) == 1:
                    kept = image, leaves_nothing(ids, self.params)
                else:
                    kept = image, 1 - strength * (1 - keeps_colour(ids, self.params))
            up = given.get(f"{modality}/up")
            latent, measured[f"{modality}/up"] = _lift(self.model, self.params, described, ids, mask, up, measure)
            if strength < 1:
                latent = _mix(clean, latent, strength)
            del described
            # Waited for: else the next image's buffers are already there beside these
            latents.append(jax.block_until_ready(latent))
        decode = given.get("decode")
        image, measured["decode"] = _decode(self.model, self.params, latents, kept, mask, decode, measure)
        return image, measured if measure else {}

    def describe(
        self,
        image: Float[Array, "B H W C"],
        mask: Float[Array, "B H W"],
        given: Collection | None = None,
        measure: bool = False,
    ) -> tuple[Described, Collection]:
        """A LURE encoder's way down: its maps with the condition head's logits, and the statistics measured."""
        image = jnp.broadcast_to(image, (*image.shape[:3], 3))  # both modalities share one program
        return _describe(self.model, self.params, image, mask, given, measure)

    def repair(
        self, image: Float[Array, "B H W C"], prompt: Int[Array, "B P"] | Text, mask: Float[Array, "B H W"]
    ) -> Float[Array, "B H W 3"]:
        """The image without what the prompt names and the encoder removes before its way down."""
        image = jnp.broadcast_to(image, (*image.shape[:3], 3))
        return _repair(self.model, self.params, image, prompt, mask)

    def maps(
        self,
        image: Float[Array, "B H W C"],
        modality: str,
        prompt: Int[Array, "B P"] | Text,
        mask: Float[Array, "B H W"],
    ) -> tuple[Int[Array, "B P"] | Text, Bool[Array, "B L"], Collection]:
        """What a LURE encoder's way up reads, AUTO answered; which tokens that are; and its collection "maps"."""
        described, _ = self.describe(image, mask)
        if not isinstance(prompt, Text):
            prompt = _answer(prompt, described.logits, self.thresholds, modality)
        if _repairs(self.model, prompt):
            described, _ = self.describe(self.repair(image, prompt, mask), mask)
        return prompt, *_maps(self.model, self.params, described, prompt, mask)


# One compilation for each model and image shape, shared by all Fusers; prompts, thresholds, statistics are arguments.
@functools.partial(jax.jit, static_argnames=("model", "measure"))
def _describe(model: Lure, params, image, mask, given, measure):
    return _apply(model, params, given, measure, lambda model: model.describe(image, mask))


def _repairs(model: Lure, prompt: Int[Array, "B P"] | Text) -> bool:
    asked = prompt.asked if isinstance(prompt, Text) else asked_by(np.asarray(prompt))
    return bool(asks_for(asked, *model.repairs).any())


@functools.partial(jax.jit, static_argnames="model")
def _repair(model: Lure, params, image, prompt, mask):
    return model.apply({"params": params}, method=lambda model: model.repair(image, _tokens(model, prompt), mask))


@functools.partial(jax.jit, static_argnames=("model", "measure"))
def _lift(model: Lure, params, described, prompt, mask, given, measure):
    def lift(model):
        return Latent(model.lift(described, _tokens(model, prompt), mask).z, ())

    return _apply(model, params, given, measure, lift)


@functools.partial(jax.jit, static_argnames="model")
def _maps(model: Lure, params, described, prompt, mask):
    def lift(model):
        text = _tokens(model, prompt)
        model.lift(described, text, mask)
        return text.mask

    present, kept = model.apply({"params": params}, mutable="maps", method=lift)
    return present, kept["maps"]


def _tokens(model: Lure, prompt) -> Text:
    return model.read(prompt) if isinstance(prompt, Text) else model.tokens(prompt)


@functools.partial(jax.jit, static_argnames=("model", "measure"))
def _decode(model: Lure, params, latents, kept, mask, given, measure):
    def decode(model):
        if len(latents) == 2:
            return jnp.clip(with_chroma(model.decode(model.fuse(*latents, mask)[0], mask), *kept), 0, 1)
        repaired, share = kept[0], kept[1][:, None, None, None]
        return jnp.clip(share * repaired + (1 - share) * model.decode(latents[0].z, mask), 0, 1)

    return _apply(model, params, given, measure, decode)


@functools.partial(jax.jit, static_argnames="model")
def _two_stream(model: FusionModel, params, visible, infrared, mask):
    return model.apply({"params": params}, visible, infrared, pixel_mask=mask).image


@jax.jit
def _mix(clean: Latent, latent: Latent, strength) -> Latent:
    return Latent((1 - strength) * clean.z + strength * latent.z, ())


def _clean(modality: str, batch: int) -> Int[np.ndarray, "B P"]:
    return np.broadcast_to(prompt_ids([clean_id(modality)], SLOTS), (batch, SLOTS))


_answer = jax.jit(answer_auto, static_argnames="modality")


def _apply(model: Lure, params, given: Collection | None, measure: bool, method):
    variables = {"params": params} | ({STATISTICS: given} if given else {})
    if not measure:
        return model.apply(variables, method=method), {}
    result, changed = model.apply(variables, method=method, mutable=[STATISTICS])
    return result, changed.get(STATISTICS, {})
