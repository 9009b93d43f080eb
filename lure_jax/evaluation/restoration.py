"""Restoration protocol: PSNR and SSIM of 8-bit images, real and synthetic pairs, right prompts against wrong ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, UInt8

from lure_jax.data.degradations import degrade
from lure_jax.inference.prompt import SLOTS, Prompt
from lure_jax.metrics.color import luma
from lure_jax.metrics.ssim import ssim
from lure_jax.text.conditions import CONDITIONS
from lure_jax.text.prompts import prompt_ids

Image = UInt8[np.ndarray, "H W *C"]
Restore = Callable[[np.ndarray, str, str | Prompt], np.ndarray]  # image or batch, modality, prompt: `Fuser.restore`
STEP = 128  # images are padded to multiples of it for scoring, so that few sizes are compiled
STRIPE_SD = (5.0, 7.0)  # of 255


class Pair(NamedTuple):
    """A degraded image and what it should be, both uint8 and of one shape."""

    degraded: Image
    reference: Image


class Score(NamedTuple):
    """PSNR in dB, SSIM, and PSNR of the image brought to its reference's brightness; larger is better."""

    psnr: float
    ssim: float
    matched: float


def score(image: Image, reference: Image) -> Score:
    """Scores of one 8-bit image.

    Args:
      image: uint8, (H,W) or (H,W,C), at least 11 x 11.
      reference: the same shape.

    Returns:
      PSNR 10 log10(255^2 / MSE) over all pixels and channels, 100 dB for equal images; SSIM per colour channel (11 x 11
      Gaussian, sd 1.5, range 255), averaged; PSNR after `brightness_matched`.

    Raises:
      ValueError: the shapes differ.
    """
    if image.shape != reference.shape:
        raise ValueError(f"The image has shape {image.shape} and its reference {reference.shape}; they must be equal.")
    (x, y), mask = padded(image, reference)
    matched = psnr(brightness_matched(image, reference), reference)
    return Score(psnr(image, reference), float(_ssim(x, y, mask)[0]), matched)


def psnr(image: Image, reference: Image) -> float:
    """10 log10(255^2 / MSE) in dB, 100 at most."""
    error = np.square(image.astype(np.float32) - reference.astype(np.float32)).mean(dtype=np.float64)
    return float(-10 * np.log10(error / 255**2 + 1e-10))


def padded(
    *images: Image, least: tuple[int, int] = (1, 1)
) -> tuple[list[Float[np.ndarray, "1 h w *C"]], Bool[np.ndarray, "1 h w"]]:
    """Images of one size as a batch of one in float32, zeros below and to the right, and the mask of the pixels.

    Args:
      *images: uint8.
      least: height and width that other images of a batch have.
    """
    height, width = images[0].shape[:2]
    below, beside = (
        -(-max(side, other) // STEP) * STEP - side for side, other in zip((height, width), least, strict=True)
    )
    mask = np.pad(np.ones((1, height, width), bool), ((0, 0), (0, below), (0, beside)))
    around = ((0, below), (0, beside))
    return [np.pad(i, (*around, *[(0, 0)] * (i.ndim - 2)))[None].astype(np.float32) for i in images], mask


@jax.jit
def _ssim(x, y, mask):
    return ssim(x, y, data_range=255.0, mask=mask)


def brightness_matched(image: Image, reference: Image) -> Image:
    """The image times the ratio of mean lumas (reference / image): exposure is a matter of taste, structure is not."""
    means = [luma(i.mean((0, 1))) if i.ndim == 3 else i.mean() for i in (reference, image)]
    return to_uint8(image / 255 * (means[0] / max(means[1], 1e-3)))


def to_uint8(image: Float[np.ndarray, "..."]) -> np.ndarray:
    """[0,1] to 0..255, rounded and clipped."""
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def compare(pairs: Sequence[Pair], methods: Mapping[str, Callable[[Image], Image]]) -> dict[str, Score]:
    """Mean scores of several ways to restore the same images.

    Args:
      pairs: at least one.
      methods: name -> degraded image to restored image.

    Returns:
      Name -> mean scores over the pairs; "input" first, the degraded images themselves.
    """
    methods = {"input": lambda image: image, **methods}
    return {
        name: Score(*np.mean([score(method(pair.degraded), pair.reference) for pair in pairs], 0).tolist())
        for name, method in methods.items()
    }


def synthetic_pairs(references: Sequence[Image], condition_ids: Sequence[int], seed: int) -> list[Pair]:
    """8-bit images degraded by `data.degradations`, each with its own generator of (seed, conditions, index)."""
    rngs = (np.random.default_rng([seed, *condition_ids, index]) for index in range(len(references)))
    return [
        Pair(to_uint8(degrade(_channels(image), condition_ids, rng)).reshape(image.shape), image)
        for image, rng in zip(references, rngs, strict=True)
    ]


def gaussian_pairs(references: Sequence[Image], sd: float, seed: int) -> list[Pair]:
    """White Gaussian noise of `sd` of 255, clipped and rounded: the usual benchmark of denoisers."""
    return [
        Pair(to_uint8(image / 255 + sd / 255 * np.random.default_rng([seed, i]).standard_normal(image.shape)), image)
        for i, image in enumerate(references)
    ]


def striped_pairs(references: Sequence[Image], seed: int) -> list[Pair]:
    """One value per column added to (H,W) images, its sd drawn from 5..7 of 255 for each image."""
    pairs = []
    for index, image in enumerate(references):
        rng = np.random.default_rng([seed, index])
        columns = rng.uniform(*STRIPE_SD) / 255 * rng.standard_normal((1, image.shape[1]))
        pairs.append(Pair(to_uint8(image / 255 + columns), image))
    return pairs


def reproduction(restore: Restore, images: Sequence[Image], modality: str) -> float:
    """Mean PSNR of D(E(x)) with the prompt "clean", in dB: what passing through the latent space costs."""
    prompt = condition_prompt([condition_ids_of(modality)["clean"]])
    return float(np.mean([psnr(restore(image, modality, prompt), image) for image in images]))


def restore_together(
    restore: Restore, pairs: Sequence[Pair], modality: str, condition_ids: Sequence[int]
) -> list[Image]:
    """The degraded images of one shape, restored as one batch with the prompt that names the conditions."""
    shape = pairs[0].degraded.shape
    batch = np.stack([pair.degraded.reshape(*shape[:2], -1) for pair in pairs])
    return list(restore(batch, modality, condition_prompt(condition_ids)).reshape(-1, *shape))


def psnr_under(restore: Restore, pairs: Sequence[Pair], modality: str, condition_id: int) -> float:
    """Mean PSNR in dB of images of one shape, restored with the prompt that names one condition."""
    restored = restore_together(restore, pairs, modality, [condition_id])
    return float(np.mean([psnr(image, pair.reference) for image, pair in zip(restored, pairs, strict=True)]))


class PromptCost(NamedTuple):
    """PSNR in dB with the right prompt, the mean with the wrong ones, and the least advantage over one of them."""

    right: float
    wrong: float
    smallest: float
    strongest_wrong: str

    @property
    def mean(self) -> float:
        """Advantage of the right prompt over the mean of the wrong ones."""
        return self.right - self.wrong


def prompt_cost(restore: Restore, pairs: Sequence[Pair], modality: str, name: str) -> PromptCost:
    """What it costs to name another condition of the modality, "clean" included, than the one the images have.

    Args:
      restore: takes a batch.
      pairs: of one shape, all degraded by the condition.
      modality: of the images.
      name: the right condition.
    """
    by_prompt = {asked: psnr_under(restore, pairs, modality, i) for asked, i in condition_ids_of(modality).items()}
    right = by_prompt.pop(name)
    strongest = max(by_prompt, key=by_prompt.get)
    return PromptCost(right, float(np.mean(list(by_prompt.values()))), right - by_prompt[strongest], strongest)


def condition_prompt(condition_ids: Sequence[int]) -> Prompt:
    """The prompt that names exactly these conditions, whatever the modality of the image."""
    ids = prompt_ids(condition_ids, SLOTS)
    return Prompt(ids, ids, ())


def condition_ids_of(modality: str) -> dict[str, int]:
    """Condition name -> index for one modality, "clean" included."""
    return {c.name: index for index, c in enumerate(CONDITIONS) if c.modality == modality}


def centre(image: Image, side: int) -> Image:
    """The middle side x side pixels, continued by reflection where the image is too small."""
    missing = [(max(0, side - have)) for have in image.shape[:2]]
    image = np.pad(image, [*((n // 2, n - n // 2) for n in missing), *[(0, 0)] * (image.ndim - 2)], mode="symmetric")
    top, left = ((have - side) // 2 for have in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def gamma_to_mean(image: Image, target: float = 0.45) -> Image:
    """Global gamma x^(ln target / ln mean), truncated to 8 bits; over all 14 LOL pairs the recorded 16.34 dB / .672."""
    return (255 * (image / 255.0) ** (np.log(target) / np.log(image.mean() / 255))).astype(np.uint8)


def _channels(image: Image) -> Float[np.ndarray, "H W C"]:
    image = image if image.ndim == 3 else image[..., None]
    return image.astype(np.float32) / 255
