"""The model for users: numpy images of any size in, fused or restored images out."""

import functools
import warnings
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, Float, Int

from lure_jax.data import tonemap
from lure_jax.inference import arrays, buckets
from lure_jax.inference.prompt import SLOTS, Prompt, answer_auto, conditions_of, is_auto, read_prompt
from lure_jax.inference.weights import Released, WeightsError, load
from lure_jax.models.lure import Lure
from lure_jax.models.registry import FusionModel
from lure_jax.text.clip import ClipError
from lure_jax.text.clip_prompts import ClipEncoder
from lure_jax.text.conditions import CONDITIONS, MODALITIES, clean_id
from lure_jax.text.prompts import prompt_ids
from lure_jax.text.source import Text


class Fuser:
    """Fuses and, with a LURE model, restores: one released model.

    Images are numpy arrays, (H,W), (H,W,1), (H,W,3) or a batch (B,H,W,C) of any size from 1x1; uint8, uint16 or floats
    in [0,1]. A uint16 infrared image is tone mapped as `tone` says, any other is taken as it is.

    A prompt is "auto" (each image's conditions are found by the network), a sentence about both images ("dark and
    noisy, the thermal has stripes"), or {"visible": ..., "infrared": ...}. A two-stream model ignores it. The first
    call for each image shape compiles (seconds); prompts never do. A model whose text source is "clip" encodes
    sentences with CLIP's text tower, from the files that its config names; the first one for each shape compiles too.

    Args:
      released: as `weights.load` gives it.
      sizes: (height, width) of images to come; they will share at most six compiled shapes.
      tone: "percentile" (each image between its 0.1 and 99.9 percentiles), "plateau", "LOW:HIGH" in stored values, or
        a curve (`lure_jax.data.tonemap`), such as the one that a data set keeps of an image.

    Example:
      fuser = Fuser.load("lure_tiny")
      fused = fuser.fuse(visible, infrared, prompt="low light")
    """

    def __init__(
        self, released: Released, sizes: Iterable[buckets.Size] = (), tone: str | tonemap.ToneMap = "percentile"
    ):
        self._fit = tonemap.fit(tone)
        self.config = released.config
        self._model = released.model
        self._restores = isinstance(released.model, Lure)
        self._params = jax.device_put(released.params)
        self._thresholds = jnp.asarray(released.thresholds)
        self._multiple = released.model.sizes.multiple
        self._shapes = buckets.plan(sizes, self._multiple)
        self._encoder: ClipEncoder | None = None

    @classmethod
    def load(
        cls,
        name_or_dir: epath.PathLike,
        sizes: Iterable[buckets.Size] = (),
        tone: str | tonemap.ToneMap = "percentile",
    ) -> "Fuser":
        """A Fuser of a model in the package ("lure_tiny"), of a model's folder or of a training workdir.

        Raises:
          WeightsError: there is no such model, or it does not fit this version of the package.
          UserError: an unknown tone mapping.
        """
        return cls(load(name_or_dir), sizes, tone)

    def fuse(
        self,
        visible: np.ndarray,
        infrared: np.ndarray,
        prompt: str | Mapping[str, str] | Prompt = "auto",
        strength: float = 1.0,
    ) -> np.ndarray:
        """Fuses registered images of one size.

        Args:
          visible: an image or a batch; grey or RGB.
          infrared: as many images of the same size; grey, or grey stored as RGB.
          prompt: what is wrong with the images, for the whole batch.
          strength: how far to restore, from 0, the latents of the prompt "clean", to 1, those of `prompt`. Below 1 it
            costs a second way up of the encoder, and a second program; a two-stream model ignores it.

        Returns:
          The fused image with the visible one's shape and dtype: RGB for RGB, grey (luma) for grey.

        Raises:
          ValueError: images that do not belong together, or of an unusable type, shape or range; a strength outside
            [0,1].
        """
        share = _share(strength)
        prompt = self._read(prompt)
        unit_v, form = arrays.to_unit(visible, "visible")
        unit_i, _ = arrays.to_unit(infrared, "infrared", self._fit)
        if unit_v.shape[:3] != unit_i.shape[:3]:
            raise ValueError(
                f"The visible image has shape {np.shape(visible)} and the infrared one {np.shape(infrared)}; "
                "number, height and width must be equal."
            )
        (padded_v, padded_i), mask = self._pad(unit_v, unit_i)
        ids = (_repeat(prompt.visible, len(unit_v)), _repeat(prompt.infrared, len(unit_v)))
        fused = _fuse(self._model, self._params, padded_v, padded_i, *ids, self._thresholds, mask, share)
        return arrays.from_unit(_crop(fused, unit_v), form)

    def restore(
        self,
        image: np.ndarray,
        modality: str,
        prompt: str | Mapping[str, str] | Prompt = "auto",
        strength: float = 1.0,
    ) -> np.ndarray:
        """Removes what is wrong with one image.

        Args:
          image: an image or a batch.
          modality: "visible" or "infrared".
          prompt: "auto" or a sentence about this image.
          strength: as in `fuse`.

        Returns:
          The restored image with the shape and dtype of the given one; uint16 infrared stays stretched: it is a
          picture, no longer a measurement.

        Raises:
          ValueError: an unknown modality, an image of an unusable type, shape or range, a strength outside [0,1], or a
            model that fuses alone.
        """
        _check(modality)
        self.check_restores()
        share = _share(strength)
        prompt = self._read({modality: prompt} if isinstance(prompt, str) else prompt)
        unit, form = arrays.to_unit(image, modality, self._fit)
        (padded,), mask = self._pad(unit)
        ids = _repeat(getattr(prompt, modality), len(unit))
        restored = _restore(self._model, self._params, padded, ids, self._thresholds, mask, modality, share)
        return arrays.from_unit(_crop(restored, unit), form)

    def detect(self, image: np.ndarray, modality: str) -> dict[str, float | Float[np.ndarray, "B"]]:
        """How probable each condition is, from the network's condition head.

        Args:
          image: an image or a batch.
          modality: "visible" or "infrared".

        Returns:
          Condition name ("low_light") -> probability, an array (B,) of them for a batch.

        Raises:
          ValueError: an unknown modality, an image of an unusable type, shape or range, or a model that fuses alone.
        """
        _check(modality)
        self.check_restores()
        unit, form = arrays.to_unit(image, modality, self._fit)
        (padded,), mask = self._pad(unit)
        probability = np.asarray(_detect(self._model, self._params, padded, mask))
        batched = len(form.shape) == 4
        return {
            CONDITIONS[c].name: probability[:, c] if batched else float(probability[0, c])
            for c in conditions_of(modality)
        }

    def read_prompt(self, prompt: str | Mapping[str, str]) -> Prompt:
        """What a user wrote, as this model reads it, with the warnings to show; a model without text reads nothing.

        Raises:
          ValueError: the prompt is unusable, or a sentence needs CLIP's files and they are unfit or not there.
        """
        if self._restores:
            return read_prompt(prompt, self._encode if self._model.text_source == "clip" else None)
        read = read_prompt(prompt)
        if is_auto(read):
            return read
        ignored = f"A {self.config['name']} model reads no text: the prompt {prompt!r} is ignored."
        return read_prompt("auto")._replace(warnings=(ignored,))

    def check_restores(self) -> None:
        """Raises ValueError, one sentence, for a model that fuses alone."""
        if not self._restores:
            raise ValueError(
                f"A {self.config['name']} model fuses alone: it neither restores nor detects; take a lure model, "
                "such as lure_tiny."
            )

    def _encode(self, sentence: str) -> Text:
        try:
            if self._encoder is None:
                self._encoder = ClipEncoder(self.config.get("clip", ""), self._model.prompts.tower)
            return self._encoder.text(sentence)
        except ClipError as error:
            raise WeightsError(f"A sentence needs CLIP's files, which the prompt auto does not: {error}") from error

    def _read(self, prompt: str | Mapping[str, str] | Prompt) -> Prompt:
        if isinstance(prompt, Prompt):
            return prompt
        read = self.read_prompt(prompt)
        for sentence in read.warnings:
            warnings.warn(sentence, stacklevel=3)
        return read

    def _pad(self, *images: Float[np.ndarray, "B H W C"]):
        batch, *size, _ = images[0].shape
        shape = buckets.choose(tuple(size), self._shapes, self._multiple)
        mask = buckets.pixel_mask(batch, tuple(size), shape, self._multiple)
        return [buckets.pad(image, shape, self._multiple) for image in images], mask


def _check(modality: str) -> None:
    if modality not in MODALITIES:
        raise ValueError(f"The modality is {modality!r}; it must be {' or '.join(MODALITIES)}.")


def _share(strength: float) -> np.float32 | None:
    """The strength as the compiled functions take it; None, the whole of it, is a program of its own."""
    if not 0 <= strength <= 1:
        raise ValueError(f"The strength is {strength}; it must lie in [0, 1].")
    return None if strength == 1 else np.float32(strength)


def _repeat(prompt: Int[np.ndarray, "P"] | Text, batch: int) -> Int[np.ndarray, "B P"] | Text:
    return jax.tree.map(lambda array: np.broadcast_to(array, (batch, *array.shape)), prompt)


def _crop(result: Array, unit: Float[np.ndarray, "B H W C"]) -> Float[np.ndarray, "B H W 3"]:
    return np.asarray(result)[:, : unit.shape[1], : unit.shape[2]]


def _encode(model: Lure, image, prompt, thresholds, mask, modality, strength):
    described = model.describe(image, mask)
    if isinstance(prompt, Text):
        text = model.read(prompt)
    else:
        text = model.tokens(answer_auto(prompt, described.logits, thresholds, modality))
    latent = model.lift(described, text, mask)
    if strength is None:
        return latent
    ids = prompt_ids([clean_id(modality)], SLOTS)
    clean = model.lift(described, model.tokens(jnp.broadcast_to(ids, (len(image), SLOTS))), mask)
    return latent._replace(z=(1 - strength) * clean.z + strength * latent.z)


# One compilation for each model and image shape, shared by all Fusers; prompts, thresholds and strengths are arguments.
@functools.partial(jax.jit, static_argnums=0)
def _fuse(model: FusionModel, params, visible, infrared, visible_ids, infrared_ids, thresholds, mask, strength=None):
    if not isinstance(model, Lure):
        return model.apply({"params": params}, visible, infrared, pixel_mask=mask).image

    def run(model):
        latent_v = _encode(model, visible, visible_ids, thresholds, mask, "visible", strength)
        latent_i = _encode(model, infrared, infrared_ids, thresholds, mask, "infrared", strength)
        z, _ = model.fuse(latent_v, latent_i, mask)
        return jnp.clip(model.decode(z, mask), 0, 1)

    return model.apply({"params": params}, method=run)


@functools.partial(jax.jit, static_argnums=(0, 6))
def _restore(model: Lure, params, image, ids, thresholds, mask, modality, strength=None):
    def run(model):
        return jnp.clip(model.decode(_encode(model, image, ids, thresholds, mask, modality, strength).z, mask), 0, 1)

    return model.apply({"params": params}, method=run)


@functools.partial(jax.jit, static_argnums=0)
def _detect(model: Lure, params, image, mask):
    return jax.nn.sigmoid(model.apply({"params": params}, image, mask, method="describe").logits)
