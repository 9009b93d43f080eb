"""Fits what tells an image's blur from its spectrum, before a run: on spectra of known blurs, measured once.

Spectra do not depend on what else the network learns, and gradients of a restored image say little about the direction
of a blur. Ours, not the paper's, which has no such part.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict
from tqdm import tqdm

from lure_jax.data import pipeline
from lure_jax.data.degradations import DEGRADATIONS, STRENGTHS
from lure_jax.data.kernels import disc_kernel, line_kernel, shift_sum
from lure_jax.data.strengths import Strengths, changed
from lure_jax.evaluation.fitting import minimised
from lure_jax.metrics.color import luma
from lure_jax.models.sharpening import (
    LENGTH,
    NOISE,
    RADIUS,
    USUAL,
    Blur,
    BlurKernel,
    blur_of,
    deconvolve,
    log_spectrum,
)
from lure_jax.text.conditions import MODALITIES

SAMPLES = 8  # blurred at a time
CLEAR, NOISY = 0.1, 0.125  # shares of images without a blur, and with noise
WET, WET_CLEAR = 0.15, 0.5  # share of visible images with rain or snow, whose streaks are no blur; of those without one
LEAST_SD, MOST_SD = 0.5, 10.0  # of the noise, of 255
LEVELS = np.linspace(-10, -1, 7, dtype=np.float32)  # of assumed noise that are tried
TRIED = 160  # pixels of a side, for that
STEPS, BATCH = 40000, 256
RATE, DECAY = 3e-3, 3e-3
CONTRAST = 0.3  # deviation of what is added to all logarithms: how much contrast an image has tells nothing
LINE, DISC, NONE = range(3)


class Seen(NamedTuple):
    """Spectra and what blurred the images.

    Attributes:
      spectra: of `log_spectrum`.
      kinds: line, disc or none.
      told: radius, length, cosine and sine of the double angle, assumed noise, in the units of `BlurKernel`'s answer.
    """

    spectra: Float[np.ndarray, "N S"]
    kinds: Int[np.ndarray, "N"]
    told: Float[np.ndarray, "N 5"]


def starting(init: Callable[[Array], Any], config: ConfigDict) -> Callable[[Array], Any]:
    """`init` with the fitted parameters in their place, by `config.blur_kernel.samples`; without samples, `init`.

    Args:
      init: random key -> parameters of a `Lure`, in boxes.
      config: the recipe; every process fits the same.
    """
    if not config.get("blur_kernel", {}).get("samples", 0):
        return init
    fitted = fit(collect(config), config.seed)

    def replaced(key):
        params = init(key)
        part = params["encoder"]["sharpening"]
        blur = jax.tree.map(lambda box, value: box.replace_boxed(value), part["blur"], fitted, is_leaf=_is_box)
        return params | {"encoder": params["encoder"] | {"sharpening": part | {"blur": blur}}}

    return replaced


def _is_box(x) -> bool:
    return isinstance(x, nn.meta.AxisMetadata)


def collect(config: ConfigDict) -> Seen:
    """Blurs clean crops of the restoration pool and measures their spectra.

    Args:
      config: the recipe; `blur_kernel` says how many `samples`, and the `crop` in pixels.
    """
    chosen, rng, seen = config.blur_kernel, np.random.default_rng(config.seed), []
    strengths = changed(STRENGTHS, config.data.get("strengths", {}))
    stage = ConfigDict(dict(pool="restoration", batch=SAMPLES, crop=chosen.crop))
    batches = pipeline.make_iterator(config, stage, seed=config.seed)
    measure = jax.jit(lambda gray: log_spectrum(gray, None))
    for _ in tqdm(range(math.ceil(chosen.samples / SAMPLES)), "blur kernel", disable=None):
        batch = next(batches)
        clean = np.asarray(luma(batch["reference"]), np.float32)
        drawn = [_blurred(*pair, rng, strengths) for pair in zip(clean, batch["modality"], strict=True)]
        sharp, images, kinds, told = (np.stack(values) for values in zip(*drawn, strict=True))
        noise = _best_noise(sharp[:, :TRIED, :TRIED], images[:, :TRIED, :TRIED], kinds, told)
        told = np.concatenate([told, np.asarray(noise)[:, None]], 1)
        seen.append(Seen(np.asarray(measure(images)), kinds, told.astype(np.float32)))
    return Seen(*map(np.concatenate, zip(*seen, strict=True)))


def _blurred(
    sharp: Float[np.ndarray, "H W"], modality: int, rng: np.random.Generator, strengths: Strengths
) -> tuple[Float[np.ndarray, "H W"], Float[np.ndarray, "H W"], int, Float[np.ndarray, "4"]]:
    """An image as it is in front of the lens, blurred in 8 bits, of what kind the blur is, and what is to be told."""
    name, clear = MODALITIES[modality], CLEAR
    if name == "visible" and rng.random() < WET:
        sharp, clear = _wet(sharp, rng, strengths), WET_CLEAR
    drawn = {parameter: d.draw(rng) for parameter, d in strengths[name, "blur"].items()}
    taps, kind, told = np.ones((1, 1)), NONE, np.zeros(4, np.float32)
    if rng.random() >= clear:
        if rng.random() < drawn["motion_share"]:
            taps, kind = line_kernel(drawn["length"], drawn["angle"]), LINE
            told[1:] = (drawn["length"] - LENGTH[0]) / LENGTH[1], *_double(drawn["angle"])
        else:
            taps, kind = disc_kernel(drawn["radius"]), DISC
            told[0] = (drawn["radius"] - RADIUS[0]) / RADIUS[1]
    sd = math.exp(rng.uniform(math.log(LEAST_SD), math.log(MOST_SD))) if rng.random() < NOISY else 0.0
    noisy = shift_sum(sharp[..., None], taps)[..., 0] + sd / 255 * rng.standard_normal(sharp.shape, np.float32)
    return sharp, np.round(255 * np.clip(noisy, 0, 1)).astype(np.float32) / 255, kind, told


def _wet(sharp: Float[np.ndarray, "H W"], rng: np.random.Generator, strengths: Strengths) -> Float[np.ndarray, "H W"]:
    """The image with rain or snow in front of it."""
    weather = "visible", ("rain", "snow")[rng.integers(2)]
    drawn = {parameter: d.draw(rng) for parameter, d in strengths[weather].items()}
    return DEGRADATIONS[weather](sharp[..., None], rng, **drawn)[..., 0]


def _double(angle: float) -> tuple[float, float]:
    return math.cos(2 * angle), math.sin(2 * angle)


@jax.jit
def _best_noise(
    sharp: Float[Array, "B H W"], image: Float[Array, "B H W"], kind: Int[Array, "B"], told: Float[Array, "B 4"]
) -> Float[Array, "B"]:
    """With which of `LEVELS` the deconvolved image is nearest to the sharp one, less the usual."""
    known = jnp.concatenate([100.0 * jax.nn.one_hot(kind, 3), told, jnp.zeros((len(told), 1))], 1)
    kernel = blur_of(known).kernel

    def error(level):
        restored = deconvolve(image[..., None], Blur(kernel, jnp.full(len(kernel), level)), None)[..., 0]
        return jnp.square(restored - sharp).mean((1, 2))

    return jnp.asarray(LEVELS)[jax.lax.map(error, jnp.asarray(LEVELS)).argmin(0)] - NOISE


def loss(answer: Float[Array, "B 8"], seen: Seen) -> Float[Array, ""]:
    """Cross-entropy of the kind + 2 r^2 (discs) + 2 l^2 + 2 d^2 (lines, the direction d by their length) + n^2 / 16.

    r, l, d and n are errors of radius, length, cosine and sine, and assumed noise, in the units of the answer.
    """
    radius, length, *direction, noise = ((answer[:, 3:] - seen.told) ** 2).T
    entropy = optax.softmax_cross_entropy_with_integer_labels(answer[:, :3], seen.kinds)
    turned = sum(direction) * (LENGTH[0] + LENGTH[1] * seen.told[:, 1]) / LENGTH[0]
    wrong = jnp.where(seen.kinds == DISC, 2 * radius, 2 * length + 2 * turned)
    return (entropy + jnp.where(seen.kinds == NONE, 0, wrong) + noise / 16).mean()


def fit(seen: Seen, seed: int) -> dict[str, Any]:
    """Parameters of a `BlurKernel` that minimise `loss`.

    Args:
      seen: the spectra to learn from.
      seed: of the parameters and the order.

    Returns:
      Parameters for spectra as they are: means and deviations go into the first layer.
    """
    start, chance = jax.random.split(jax.random.key(seed))
    known = jax.tree.map(jnp.asarray, seen)
    mean, spread = seen.spectra.mean(0), seen.spectra.std(0)
    params = nn.unbox(BlurKernel().init(start, known.spectra[:1])["params"])
    schedule = optax.cosine_decay_schedule(RATE, STEPS)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=DECAY))

    def loss_of(params, number):
        order, contrast = jax.random.split(jax.random.fold_in(chance, number))
        rows = jax.random.randint(order, (BATCH,), 0, len(known.kinds))
        some = jax.tree.map(lambda values: values[rows], known)
        spectra = some.spectra + CONTRAST * jax.random.normal(contrast, (BATCH, 1))
        return loss(BlurKernel().apply({"params": params}, (spectra - mean) / spread + USUAL), some)

    params = jax.tree.map(np.asarray, minimised(loss_of, params, optimizer, STEPS))
    first = params["first"]
    kernel = first["kernel"] / spread[:, None]
    return params | {"first": {"kernel": kernel, "bias": first["bias"] + (USUAL - mean) @ kernel}}
