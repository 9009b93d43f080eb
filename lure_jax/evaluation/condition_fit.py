"""Fits the condition head at the end of a run, on statistics of many degraded images that are measured once.

What is slow of a step of the head is to degrade images and to run the encoder over them; the head itself is three small
matrices. So both are done once for each image, and the head then sees its statistics a hundred times. Ours, not the
paper's, which has no such head.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int
from ml_collections import ConfigDict
from tqdm import tqdm

from lure_jax.data import pipeline
from lure_jax.evaluation.batches import gather, mesh_of, scatter
from lure_jax.evaluation.fitting import minimised
from lure_jax.models.lure import ConditionHead, Lure
from lure_jax.objectives.unified import condition_loss
from lure_jax.text.conditions import condition_id
from lure_jax.training.mesh import replicated

SAMPLES = 8  # degraded at a time
ROUNDS, BATCH = 100, 512
RATE, DECAY = 2e-3, 0.1
# There are many statistics for so few images: standard deviations of noise on each of them, and dropout
JITTER, DROPOUT = 0.2, 0.3
LEAST_SPREAD = 1e-4
HAZE = condition_id("visible", "haze")


class Seen(NamedTuple):
    """Images as the head sees them, and what is wrong with each.

    Attributes:
      statistics: what `Lure.describe` measures of an image.
      conditions: 1 for each condition that is there.
      modality: index into `MODALITIES`.
    """

    statistics: Float[np.ndarray, "N S"]
    conditions: Float[np.ndarray, "N 13"]
    modality: Int[np.ndarray, "N"]


def fitted(model: Lure, params: Any, config: ConfigDict) -> Any:
    """The parameters with a condition head made anew on `config.condition_head.samples` samples of the recipe.

    Args:
      model: the network.
      params: its parameters, on the devices of a run, boxed or not.
      config: the recipe. Without samples, and in a recipe without `condition_head`, the parameters stay as they are.

    Returns:
      The same tree, unboxed; every process makes the same head.
    """
    if not config.get("condition_head", {}).get("samples", 0):
        return params
    params = nn.unbox(params)
    if mesh := mesh_of(params):
        params = jax.jit(lambda params: params, out_shardings=replicated(mesh))(params)
    seen = collect(model, params, config)
    return params | {"encoder": params["encoder"] | {"condition": fit(seen, config.seed)}}


def collect(model: Lure, params: Any, config: ConfigDict) -> Seen:
    """Draws samples of the restoration pool, all conditions alike, and measures their degraded and clean images.

    Haze without colour is left out: nothing but a raised black level would tell it, and that each camera sets as it
    likes.

    Args:
      model: the network.
      params: its parameters; those of the head play no part.
      config: the recipe; `condition_head` says how many `samples`, in equal parts as squares of `crops` pixels.

    Returns:
      Two images a sample; fewer where hazy grey ones are left out.
    """
    chosen, mesh, measured = config.condition_head, mesh_of(params), []
    pool = ConfigDict({"data": {**config.data, "condition_weights": {}}})
    rounds = math.ceil(chosen.samples / len(chosen.crops) / SAMPLES)

    @jax.jit
    def measure(params, images):
        return model.apply({"params": params}, images, method="describe").statistics

    for crop in chosen.crops:
        stage = ConfigDict(dict(pool="restoration", batch=SAMPLES, crop=crop))
        batches = pipeline.make_iterator(pool, stage, seed=config.seed + crop)
        for _ in tqdm(range(rounds), f"condition head, {crop}", disable=None):
            batch = next(batches)
            # Files have 8 bits, in which deep darkness has few values
            images = np.round(255 * np.concatenate([batch["degraded"], batch["reference"]])) / np.float32(255)
            statistics = gather(measure(params, *scatter(mesh, images)), len(images))
            conditions = np.concatenate([batch["conditions"], batch["reference_conditions"]])
            grey_haze = (np.ptp(images, -1) == 0).all((1, 2)) & (conditions[:, HAZE] > 0)
            seen = Seen(statistics, conditions, np.tile(batch["modality"], 2))
            measured.append(Seen(*(values[~grey_haze] for values in seen)))
    return Seen(*map(np.concatenate, zip(*measured, strict=True)))


def fit(seen: Seen, seed: int) -> dict[str, Any]:
    """Minimises `condition_loss` from scratch, on standardised statistics with noise.

    Args:
      seen: the images to learn from.
      seed: of the parameters, the order and the noise.

    Returns:
      Parameters of a `ConditionHead` of the statistics as they are: means and deviations go into its first layer.
    """
    mean, spread = seen.statistics.mean(0), seen.statistics.std(0) + LEAST_SPREAD
    inputs = jnp.asarray((seen.statistics - mean) / spread)
    known = jnp.asarray(seen.conditions), jnp.asarray(seen.modality)
    start, chance = jax.random.split(jax.random.key(seed))
    params = nn.unbox(ConditionHead().init(start, inputs[:1])["params"])
    steps = ROUNDS * len(inputs) // BATCH
    optimizer = optax.adamw(optax.cosine_decay_schedule(RATE, steps), weight_decay=DECAY)

    def loss(params, step):
        order, noise, dropout = jax.random.split(jax.random.fold_in(chance, step), 3)
        rows = jax.random.randint(order, (BATCH,), 0, len(inputs))
        x = inputs[rows]
        x += JITTER * jax.random.normal(noise, x.shape)
        logits = ConditionHead(dropout=DROPOUT).apply({"params": params}, x, rngs={"dropout": dropout})
        return condition_loss(logits, *(k[rows] for k in known))

    params = minimised(loss, params, optimizer, steps)
    first = params["first"]
    kernel = first["kernel"] / spread[:, None]
    return jax.tree.map(np.asarray, params | {"first": {"kernel": kernel, "bias": first["bias"] - mean @ kernel}})
