"""What the networks that judge fused images minimise: cross-entropy of labels, CenterNet's loss of boxes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lure_jax.models.detection import CentreMaps
from lure_jax.objectives.objective import Objective

SIZE_WEIGHT = 0.5  # of the L1 losses beside the focal one


def segmentation(model, stage) -> Objective:
    """Mean cross-entropy of `batch["labels"]` (B,h,w), at stride 4; 255 is no class and doesn't count."""
    del stage

    def loss(params, batch, rng, step, aux):
        del rng, step
        logits = model.apply({"params": params}, batch["image"])
        value, accuracy = label_loss(logits, batch["labels"])
        return value, ({"cross_entropy": value, "accuracy": accuracy}, aux)

    return Objective("segmentation", loss, {})


def detection(model, stage) -> Objective:
    """CenterNet's loss of `batch["heat"]`, `batch["log_size"]`, `batch["offset"]` (stride 4)."""
    del stage

    def loss(params, batch, rng, step, aux):
        del rng, step
        terms = centre_loss(model.apply({"params": params}, batch["image"]), *(batch[k] for k in CentreMaps._fields))
        return terms["heat"] + SIZE_WEIGHT * (terms["log_size"] + terms["offset"]), (terms, aux)

    return Objective("detection", loss, {})


def label_loss(logits: Float[Array, "B h w K"], labels: Int[Array, "B h w"]) -> tuple[Array, Array]:
    """Mean cross-entropy in nats and accuracy over the pixels whose label is below K; 0 if there are none."""
    known = (labels < logits.shape[-1]).astype(jnp.float32)
    count = jnp.maximum(known.sum(), 1.0)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.where(known > 0, labels, 0)[..., None], -1)[..., 0]
    return -jnp.sum(chosen * known) / count, jnp.sum((logits.argmax(-1) == labels) * known) / count


def centre_loss(
    maps: CentreMaps,
    heat: Float[Array, "B h w K"],
    log_size: Float[Array, "B h w 2"],
    offset: Float[Array, "B h w 2"],
) -> dict[str, Array]:
    """The terms of CenterNet (arXiv 1904.07850, equations 1 to 4), each over the number of boxes.

    heat = -sum (1-p)^2 log p at centres (target 1), (1-t)^4 p^2 log(1-p) elsewhere; the L1 distances of the logarithm
    of the size (the paper takes the size itself) and of the offset at centres alone.

    Args:
      maps: what the network says.
      heat: 1 at the cell of a centre, a Gaussian around it, 0 far away.
      log_size: of the box, in pixels, where a centre is.
      offset: of the centre within its cell, in [0,1].
    """
    centre = (heat == 1).astype(jnp.float32)
    boxes = jnp.maximum(centre.sum(), 1.0)
    p, log_p, log_not_p = jax.nn.sigmoid(maps.heat), jax.nn.log_sigmoid(maps.heat), jax.nn.log_sigmoid(-maps.heat)
    focal = centre * (1 - p) ** 2 * log_p + (1 - centre) * (1 - heat) ** 4 * p**2 * log_not_p
    here = centre.max(-1, keepdims=True)
    cells = jnp.maximum(here.sum(), 1.0)
    return {
        "heat": -focal.sum() / boxes,
        "log_size": jnp.sum(here * jnp.abs(maps.log_size - log_size)) / cells,
        "offset": jnp.sum(here * jnp.abs(maps.offset - offset)) / cells,
    }
