"""LURE's objectives: the space (stage I), the fusion rule with the decoder frozen (IIa) and with it (IIb).

After LURE (arXiv 2503.07033); reconstruction.
"""

import jax.numpy as jnp
from jax.lax import stop_gradient

from lure_jax.metrics.color import luma
from lure_jax.models.lure import Lure
from lure_jax.objectives.fusion import FusionWeights, fusion_losses
from lure_jax.objectives.objective import Objective
from lure_jax.objectives.unified import (
    condition_loss,
    image_loss,
    latent_distance,
    latent_statistics_distance,
    psnr,
    ramp,
    split_halves,
)
from lure_jax.text.conditions import clean_id
from lure_jax.text.prompts import prompt_ids

CONDITION = 0.2  # method: 0.05, with which the head learned nothing in our runs
LATENT = 0.1


def space(model: Lure, stage) -> Objective:
    """Stage I: L_I = L_rest + L_pseudo + lam(t) (L_align + 0.5 L_dist) + 0.2 L_cond; the fuser rests.

    Args:
      model: the network.
      stage: the stage's config; lam rises to `align` (0.1 if it is not given) over a tenth of `steps`.

    Returns:
      An objective over the restoration pool.
    """
    lam = ramp(stage.steps, stage.get("align", 0.1))
    clean = jnp.asarray([prompt_ids([clean_id(m)], 2) for m in ("visible", "infrared")])

    def loss(params, batch, rng, step, aux):
        del rng

        def apply(method, *args):
            return model.apply({"params": params}, *args, method=method)

        images = jnp.concatenate([batch["degraded"], batch["reference"]])
        prompts = jnp.concatenate([batch["prompt_ids"], clean[batch["modality"]]])
        described = apply("describe", images)
        latents = apply("lift", described, apply("tokens", prompts)).z
        decoded = apply("decode", latents)[:, : images.shape[1], : images.shape[2]]
        z_q, z_h = split_halves(latents)
        restored, reproduced = split_halves(decoded)
        conditions = jnp.concatenate([batch["conditions"], batch["reference_conditions"]])
        terms = {
            "restoration": image_loss(restored, batch["reference"]),
            "pseudo": image_loss(reproduced, batch["reference"]),
            "align": latent_distance(z_q, z_h),
            "dist": latent_statistics_distance(z_q, z_h),
            "condition": condition_loss(described.logits, conditions, jnp.tile(batch["modality"], 2)),
        }
        total = terms["restoration"] + terms["pseudo"] + CONDITION * terms["condition"]
        total += lam(step) * (terms["align"] + 0.5 * terms["dist"])
        metrics = terms | {
            "lam": lam(step),
            "psnr_input": psnr(batch["degraded"], batch["reference"]),
            "psnr_restored": psnr(restored, batch["reference"]),
            "psnr_reproduced": psnr(reproduced, batch["reference"]),
            "latent_sd": jnp.std(z_h),
        }
        return total, (metrics, aux)

    return Objective("lure_space", loss, {"fuser": 0.0})


def rule(model: Lure, stage, decoder: float = 0.0) -> Objective:
    """Stage IIa: the fusion rule L_II with encoder and decoder frozen; targets are the clean images.

    Args:
      model: the network.
      stage: the stage's config; `loss` may hold weights of `FusionWeights`.
      decoder: learning-rate factor of the decoder.

    Returns:
      An objective over the fusion pool.
    """
    weights = FusionWeights(**stage.get("loss", {}))
    clean = {m: jnp.asarray(prompt_ids([clean_id(m)], 2)) for m in ("visible", "infrared")}

    def loss(params, batch, rng, step, aux):
        del rng, step

        def apply(method, *args):
            return model.apply({"params": params}, *args, method=method)

        def latents(suffix, prompts):
            return [
                apply("encode", batch[m + suffix], apply("tokens", prompts(m))) for m in ("visible", "infrared")
            ]

        bad, _ = apply("fuse", *latents("", lambda m: batch[f"{m}_prompt_ids"]))
        size = batch["visible"].shape[1:3]
        good, _ = apply("fuse", *latents("_reference", lambda m: jnp.tile(clean[m], (bad.shape[0], 1))))
        fused = apply("decode", bad)[:, : size[0], : size[1]]
        terms = fusion_losses(fused, batch["visible_reference"], batch["infrared_reference"])
        total = sum(getattr(weights, name) * value for name, value in terms.items())
        terms["latent"] = latent_distance(bad, stop_gradient(good))
        total += LATENT * terms["latent"]
        return total, (terms | {"luma": luma(fused).mean()}, aux)

    frozen = {"encoder": 0.0, "text": 0.0, "decoder": decoder}
    return Objective("lure_joint" if decoder else "lure_rule", loss, frozen)


def joint(model: Lure, stage) -> Objective:
    """Stage IIb: as `rule`, and the decoder follows at a tenth of the learning rate."""
    return rule(model, stage, decoder=0.1)
