"""The model for users: numpy images of any size in, fused or restored images out."""

import functools
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import numpy as np
from etils import epath
from jaxtyping import Float, Int

from lure_jax.data import tonemap
from lure_jax.inference import arrays, buckets, tiles
from lure_jax.inference.explanation import Explanation, explain
from lure_jax.inference.passes import Network, Statistics
from lure_jax.inference.prompt import Prompt, conditions_of, is_auto, read_prompt
from lure_jax.inference.rows import Placement
from lure_jax.inference.weights import Released, WeightsError, load
from lure_jax.models.lure import Lure
from lure_jax.text.clip import ClipError
from lure_jax.text.clip_prompts import ClipEncoder
from lure_jax.text.conditions import CONDITIONS, MODALITIES
from lure_jax.text.source import Text


class Fuser:
    """Fuses and, with a LURE model, restores: one released model.

    Images are numpy arrays, (H,W), (H,W,1), (H,W,3) or a batch (B,H,W,C) of any size from 1x1; uint8, uint16 or floats
    in [0,1]. A uint16 infrared image is tone mapped as `tone` says, any other is taken as it is.

    A prompt is "auto" (each image's conditions are found by the network), a sentence about both images ("dark and
    noisy, the thermal has stripes"), or {"visible": ..., "infrared": ...}. A two-stream model ignores it. The first
    call for each image shape compiles (seconds), and the first one that names noise, blur or stripes; no other prompt
    does. A model whose text source is "clip" encodes sentences with CLIP's text tower, from the files that its config
    names; the first one for each shape compiles too.

    Args:
      released: as `weights.load` gives it.
      sizes: (height, width) of images to come; they will share at most six compiled shapes.
      tone: "percentile" (each image between its 0.1 and 99.9 percentiles), "plateau", "LOW:HIGH" in stored values, or
        a curve (`lure_jax.data.tonemap`), such as the one that a data set keeps of an image.
      memory: of the process, like "2GB"; larger images are worked on in overlapping tiles, larger batches one by one.
      shard_rows: split each image by rows over all devices; `memory` is then that of each.

    Example:
      fuser = Fuser.load("lure_tiny")
      fused = fuser.fuse(visible, infrared, prompt="low light")
    """

    def __init__(
        self,
        released: Released,
        sizes: Iterable[buckets.Size] = (),
        tone: str | tonemap.ToneMap = "percentile",
        memory: str | int | None = None,
        shard_rows: bool = False,
    ):
        self.fit_tone = tonemap.fit(tone)
        self.config = released.config
        self._model = released.model
        self._restores = isinstance(released.model, Lure)
        self.thresholds = released.thresholds
        self._multiple = released.model.sizes.multiple
        self._placement = Placement(shard_rows, self._multiple)
        self._network = Network(released.model, *self._placement.rest((released.params, released.thresholds)))
        each = tiles.affordable_pixels(memory, self.config["name"], self.config["preset"])
        self._pixels = each * self._placement.devices
        self._shapes = buckets.plan(sizes, self._multiple)
        self._encoder: ClipEncoder | None = None

    @classmethod
    def load(
        cls,
        name_or_dir: epath.PathLike,
        sizes: Iterable[buckets.Size] = (),
        tone: str | tonemap.ToneMap = "percentile",
        memory: str | int | None = None,
        shard_rows: bool = False,
    ) -> "Fuser":
        """A Fuser of a model in the package ("lure_tiny"), of a model's folder or of a training workdir.

        Raises:
          WeightsError: there is no such model, or it does not fit this version of the package.
          UserError: an unknown tone mapping, or a memory that is none or too little.
        """
        return cls(load(name_or_dir), sizes, tone, memory, shard_rows)

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
            costs a second way up of the encoder; a two-stream model ignores it.

        Returns:
          The fused image with the visible one's shape and dtype: RGB for RGB, grey (luma) for grey; its alpha channel
          is the visible image's, and so is its chroma where `prompt` finds nothing wrong with that image, or noise and
          blur alone, after those were removed from it (not in sentences that CLIP reads, of which that is not known).

        Raises:
          ValueError: images that do not belong together, or of an unusable type, shape or range; a strength outside
            [0,1].
        """
        images = {"visible": np.asarray(visible), "infrared": np.asarray(infrared)}
        return self._any_size(images, self._read(prompt), _checked(strength))

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
        prompt = self._read({modality: prompt} if isinstance(prompt, str) else prompt)
        return self._any_size({modality: np.asarray(image)}, prompt, _checked(strength))

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
        unit, form = arrays.to_unit(image, modality, self.fit_tone)
        padded, mask = self._pad({modality: unit}, buckets.choose(unit.shape[1:3], self._shapes, self._multiple))
        described, _ = self._network.describe(padded[modality], mask)
        probability = np.asarray(jax.nn.sigmoid(described.logits))
        batched = len(form.shape) == 4
        return {
            CONDITIONS[c].name: probability[:, c] if batched else float(probability[0, c])
            for c in conditions_of(modality)
        }

    def explain(
        self, image: np.ndarray, modality: str, prompt: str | Mapping[str, str] | Prompt = "auto"
    ) -> Explanation:
        """Where the prompt acts in one image.

        Args:
          image: an image, not a batch.
          modality: "visible" or "infrared".
          prompt: as in `restore`.

        Returns:
          What was read, and the maps of attention and modulation at each resolution.

        Raises:
          ValueError: as `restore`; or a batch, or an image that does not fit into the memory as a whole.
        """
        _check(modality)
        self.check_restores()
        if not self._model.sizes.per_pixel:
            raise ValueError(f"The text of a {self.config['preset']} model acts on whole channels: it has no maps.")
        read = self._read({modality: prompt} if isinstance(prompt, str) else prompt)
        number, *size = arrays.size_of(np.asarray(image), modality)
        if number > 1:
            raise ValueError(f"The {modality} image is a batch of {number}; one image is explained at a time.")
        if math.prod(size) > self._pixels:
            raise ValueError(
                f"The {modality} image is {size[1]}x{size[0]} and cannot be explained in tiles; "
                f"scale it to {math.isqrt(self._pixels)}x{math.isqrt(self._pixels)} pixels or fewer."
            )
        unit, _ = arrays.to_unit(image, modality, self.fit_tone)
        padded, mask = self._pad({modality: unit}, buckets.choose(tuple(size), self._shapes, self._multiple))
        own = _repeat(getattr(read, modality), 1)
        return explain(self._network, padded[modality], modality, own, mask, tuple(size))

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

    def read_prompt_aloud(self, prompt: str | Mapping[str, str], tell: Callable[[str], None]) -> Prompt:
        """As `read_prompt`, with `tell` called for each of its warnings."""
        read = self.read_prompt(prompt)
        for sentence in read.warnings:
            tell(sentence)
        return read

    def check_restores(self) -> None:
        """Raises ValueError, one sentence, for a model that fuses alone."""
        if not self._restores:
            raise ValueError(
                f"A {self.config['name']} model fuses alone: it neither restores nor detects; take a lure model, "
                "such as lure_tiny."
            )

    def _encode(self, sentence: str, conditions: Sequence[int]) -> Text:
        try:
            if self._encoder is None:
                self._encoder = ClipEncoder(self.config.get("clip", ""), self._model.prompts.tower)
            return self._encoder.text(sentence, conditions)
        except ClipError as error:
            raise WeightsError(f"A sentence needs CLIP's files, which the prompt auto does not: {error}") from error

    def _read(self, prompt: str | Mapping[str, str] | Prompt) -> Prompt:
        if isinstance(prompt, Prompt):
            return prompt
        return self.read_prompt_aloud(prompt, functools.partial(warnings.warn, stacklevel=4))

    def parts(
        self,
        images: Mapping[str, np.ndarray],
        prompt: Prompt,
        given: Statistics | None = None,
        measure: bool = False,
        strength: float = 1.0,
    ) -> tuple[Iterable[tuple[slice, Float[np.ndarray, "B h W 3"]]], Statistics]:
        """Fuses two images, or restores one, as rows from top to bottom that can be worked on within the memory.

        Args:
          images: "visible" and "infrared", or one of them, as in `fuse`; a batch must fit into the memory as a whole.
          prompt: as `read_prompt` gives it.
          given: statistics of a whole image, such as those of the frame before, to be used instead of the image's own.
          measure: also return the image's own statistics.
          strength: as in `fuse`.

        Returns:
          Slices of rows with the result there in [0,1], and the statistics, {} if not asked for.

        Raises:
          ValueError: as `fuse`.
        """
        number, *size = _common_size(images)
        prompts = {modality: _repeat(getattr(prompt, modality), number) for modality in images}
        if number * math.prod(size) <= self._pixels:
            units = {m: arrays.to_unit(image, m, self.fit_tone)[0] for m, image in images.items()}
            padded, mask = self._pad(units, buckets.choose(tuple(size), self._shapes, self._multiple))
            del units
            result, measured = self._network(padded, prompts, mask, given, measure, strength)
            return [(slice(0, size[0]), np.asarray(result)[:, : size[0], : size[1]])], measured
        afforded = tiles.beside_image(self._pixels, tuple(size), self.config["name"], self.config["preset"])
        plan = tiles.plan(tuple(size), afforded, self._multiple)
        fits = {m: arrays.settled(image, m, self.fit_tone) for m, image in images.items()}

        def cut(rows: slice, columns: slice, share: Float[np.ndarray, "h w"] | None = None):
            units = {m: arrays.to_unit(image[rows, columns], m, fits[m])[0] for m, image in images.items()}
            return self._pad(units, plan.tile, share)

        def compute(rows: slice, columns: slice) -> Float[np.ndarray, "h w 3"]:
            units, mask = cut(rows, columns)
            # measured, too: the program that `own` came of
            result, _ = self._network(units, prompts, mask, own | (given or {}), measure=True, strength=strength)
            return np.asarray(result)[0, : rows.stop - rows.start, : columns.stop - columns.start]

        small = {m: tiles.thin(image, afforded) for m, image in images.items()}
        small = {m: arrays.to_unit(image, m, fits[m])[0] for m, image in small.items()}
        shape = next(iter(small.values())).shape[1:3]
        small = self._pad(small, buckets.plan([shape], self._multiple)[0])
        own = {} if given and not measure else tiles.statistics(
            self._network, small, lambda: (cut(*place) for place in tiles.places(plan, tuple(size))), prompts, strength
        )  # fmt: skip
        return ((rows, part[None]) for rows, part in tiles.blend(plan, tuple(size), compute)), own

    def _any_size(self, images: Mapping[str, np.ndarray], prompt: Prompt, strength: float) -> np.ndarray:
        """The result in the form of the first image."""
        number, *size = _common_size(images)
        first = next(iter(images.values()))
        if first.ndim == 4 and number * math.prod(size) > self._pixels:
            singles = ({m: i[n] if i.ndim == 4 else i for m, i in images.items()} for n in range(number))
            return np.stack([self._any_size(single, prompt, strength) for single in singles])
        result = np.empty_like(first)
        for rows, part in self.parts(images, prompt, strength=strength)[0]:
            there = (slice(None), rows) if first.ndim == 4 else rows
            form = arrays.Form(first[there].shape, first.dtype)
            result[there] = arrays.from_unit(part, form, arrays.alpha_of(first[there]))
        return result

    def _pad(self, units: Mapping[str, Float[np.ndarray, "B H W C"]], shape: buckets.Size, share=None):
        """The images with the sides of a compiled shape, and their pixel mask, where they are worked on.

        With the share (h,w) of a tile's pixels in the whole, its mask to be measured.
        """
        number, *size, _ = next(iter(units.values())).shape
        shape = self._placement.shape(shape)
        mask = buckets.pixel_mask(number, tuple(size), shape, self._multiple)
        if share is not None:
            mask = tiles.weigh(mask, share)
        padded = {m: self._placement.image(buckets.pad(unit, shape, self._multiple)) for m, unit in units.items()}
        return padded, self._placement.image(mask)


def _common_size(images: Mapping[str, np.ndarray]) -> tuple[int, int, int]:
    sizes = {modality: arrays.size_of(image, modality) for modality, image in images.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"The visible image has shape {images['visible'].shape} and the infrared one {images['infrared'].shape}; "
            "number, height and width must be equal."
        )
    return next(iter(sizes.values()))


def _check(modality: str) -> None:
    if modality not in MODALITIES:
        raise ValueError(f"The modality is {modality!r}; it must be {' or '.join(MODALITIES)}.")


def _checked(strength: float) -> float:
    if not 0 <= strength <= 1:
        raise ValueError(f"The strength is {strength}; it must lie in [0, 1].")
    return float(strength)


def _repeat(prompt: Int[np.ndarray, "P"] | Text, batch: int) -> Int[np.ndarray, "B P"] | Text:
    return jax.tree.map(lambda array: np.broadcast_to(array, (batch, *array.shape)), prompt)
