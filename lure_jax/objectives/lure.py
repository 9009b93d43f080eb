"""LURE's objectives: the space (stage I), the fusion rule with the decoder frozen (IIa) and with it (IIb); and ours.

After LURE (arXiv 2503.07033); reconstruction.
"""

from collections.abc import Collection
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Int

from lure_jax.errors import UserError
from lure_jax.metrics.color import luma, with_chroma
from lure_jax.models.lure import FusionOutput, Latent, Lure, mix_features
from lure_jax.objectives.fusion import FusionWeights, fusion_losses
from lure_jax.objectives.objective import Objective
from lure_jax.objectives.unified import (
    condition_loss,
    image_loss,
    interleave,
    latent_distance,
    latent_statistics_distance,
    psnr,
    ramp,
    separate,
)
from lure_jax.text.asked import REFINING
from lure_jax.text.conditions import CONDITIONS, MODALITIES, clean_id
from lure_jax.text.prompts import prompt_ids

PSEUDO = 0.3  # method: 1, with which reproducing clean images, never done, kept the network from restoring
CONDITION = 0.05
LATENT = 0.1
REPRODUCTION = 50.0
RESTORATION = 0.5
SETTLED = ("low_light", "noise")  # tokens that have met real pairs; restoration loses where they follow the fusion pool
# Learning-rate factors: all but the text rests
TEXT_ALONE = dict.fromkeys(("encoder", "decoder", "fuser", *REFINING), 0.0)
FITTED = {"encoder/sharpening/blur": 0.0}  # `evaluation.blur_fit` has, on more images than a stage sees
LEAST_ERROR = 1e-5  # squared: of images restored better than 50 dB nothing more is asked
LEAST_CROP = 41  # pixels, for the four scales of VIF


def space(model: Lure, stage) -> Objective:
    """Stage I: L_I = L_rest + p L_pseudo + lam(t) (L_align + 0.5 L_dist) + 0.05 L_cond; the fuser rests.

    Args:
      model: the network.
      stage: the stage's config; lam rises to `align` (0.1 if it is not given) over a tenth of `steps`, p is `pseudo`
        (0.3 if it is not given).

    Returns:
      An objective over the restoration pool.
    """
    lam, reproduction = ramp(stage.steps, stage.get("align", 0.1)), stage.get("pseudo", PSEUDO)
    clean = jnp.asarray([prompt_ids([clean_id(m)], 2) for m in ("visible", "infrared")])

    def loss(params, batch, rng, step, aux):
        del rng

        def apply(method, *args):
            return model.apply({"params": params}, *args, method=method)

        images = interleave(batch["degraded"], batch["reference"])
        prompts = interleave(batch["prompt_ids"], clean[batch["modality"]])
        described = apply("describe", images)  # the condition head judges what the encoder may repair first
        latents = apply("encode", images, apply("tokens", prompts)).z
        decoded = apply("decode", latents)[:, : images.shape[1], : images.shape[2]]
        z_q, z_h = separate(latents)
        restored, reproduced = separate(decoded)
        conditions = interleave(batch["conditions"], batch["reference_conditions"])
        terms = {
            "restoration": image_loss(restored, batch["reference"]),
            "pseudo": image_loss(reproduced, batch["reference"]),
            "align": latent_distance(z_q, z_h),
            "dist": latent_statistics_distance(z_q, z_h),
            "condition": condition_loss(described.logits, conditions, jnp.repeat(batch["modality"], 2)),
        }
        total = terms["restoration"] + reproduction * terms["pseudo"] + CONDITION * terms["condition"]
        total += lam(step) * (terms["align"] + 0.5 * terms["dist"])
        metrics = terms | {
            "lam": lam(step),
            "psnr_input": psnr(batch["degraded"], batch["reference"]),
            "psnr_restored": psnr(restored, batch["reference"]),
            "psnr_reproduced": psnr(reproduced, batch["reference"]),
            "latent_sd": jnp.std(z_h),
        }
        return total, (metrics, aux)

    return Objective("lure_space", loss, {"fuser": 0.0} | FITTED)


def tokens(model: Lure, stage) -> Objective:
    """The learned text alone, or with it a part that rests unless the text asks for it: L_rest, of degraded images.

    Ours. Under the prompts of its samples the network acts otherwise, else not (with a part: under all prompts that
    ask for it): the tokens of conditions that no sample has stay what they are, if nothing decays.

    Args:
      model: the network.
      stage: the stage's config; `part` may be "toning" or one of `Lure.repairs`. `conditions` may name those whose
        samples are drawn (`pipeline.make_iterator`) and whose tokens follow, or none at all, which draws all and lets
        the text rest, in a model with the text source "table"; if it is not given, all follow.

    Returns:
      An objective over the restoration pool.

    Raises:
      UserError: there is no such part or condition, or the text source has no tokens of its own for each condition.
    """
    part, names = stage.get("part", ""), stage.get("conditions", None)
    if part and part not in ("toning", *model.repairs):
        raise UserError(
            f"config.stages.*.part={part!r} is no part of the model; choose toning, {', '.join(model.repairs)}."
        )
    if names is not None:
        _check_table(model, "lure_tokens")
        known = {condition.name for condition in CONDITIONS}
        if unknown := [name for name in names if name not in known]:
            raise UserError(f"config.stages.*.conditions has {unknown[0]!r}; choose of {', '.join(sorted(known))}.")
    free = [_path(part)] if part else []

    def loss(params, batch, rng, step, aux):
        del rng, step
        if names is not None:
            params = _training_tokens(params, names)
        text = model.apply({"params": params}, batch["prompt_ids"], method="tokens")
        restored = model.apply({"params": params}, batch["degraded"], text, method="restore")
        total = image_loss(restored, batch["reference"])
        metrics = {
            "restoration": total,
            "psnr_input": psnr(batch["degraded"], batch["reference"]),
            "psnr_restored": psnr(restored, batch["reference"]),
        }
        return total, (metrics, aux)

    rest = {} if names is None or len(names) else {"text": 0.0}
    return Objective("lure_tokens", loss, TEXT_ALONE | dict.fromkeys(free, 1.0) | FITTED | rest)


def repair(model: Lure, stage) -> Objective:
    """A part that repairs the image before the way down, alone: mean over images of log(MSE + 1e-5) of what it makes.

    Ours. Neither the rest of the encoder nor the decoder is gone through, so that a step costs a fraction of `tokens`'.
    The loss is that of PSNR: Chen et al., "Simple baselines for image restoration", ECCV 2022.

    Args:
      model: the network.
      stage: the stage's config; `part` is one of `Lure.repairs`, and `conditions` name those whose samples are drawn.

    Returns:
      An objective over the restoration pool.

    Raises:
      UserError: there is no such part.
    """
    part = stage.get("part", "")
    if part not in model.repairs:
        raise UserError(f"config.stages.*.part={part!r} repairs no image; choose {', '.join(model.repairs)}.")

    def loss(params, batch, rng, step, aux):
        del rng, step
        text = model.apply({"params": params}, batch["prompt_ids"], method="tokens")
        repaired = model.apply({"params": params}, batch["degraded"], text, method="repair")
        repaired = repaired[:, : batch["reference"].shape[1], : batch["reference"].shape[2]]
        total = jnp.log(jnp.square(repaired - batch["reference"]).mean((1, 2, 3)) + LEAST_ERROR).mean()
        metrics = {
            "log_error": total,
            "psnr_input": psnr(batch["degraded"], batch["reference"]),
            "psnr_repaired": psnr(repaired, batch["reference"]),
        }
        return total, (metrics, aux)

    return Objective("lure_repair", loss, TEXT_ALONE | {"text": 0.0, _path(part): 1.0} | FITTED)


def _path(part: str) -> str:
    return part if part in REFINING else f"encoder/{part}"


def clean_prompts(modality: str, batch: int) -> Int[np.ndarray, "B 2"]:
    """The prompt "clean" of a modality; known while tracing, so that what it does not ask for is not compiled."""
    return np.tile(prompt_ids([clean_id(modality)], 2), (batch, 1))


class Fused(NamedTuple):
    """A fused batch: the image (not clipped) with its features, the fused latent (B,h,w,Z), and those it is made of."""

    output: FusionOutput
    latent: Array
    sources: tuple[Latent, Latent]


def fuse_batch(model: Lure, params, batch, suffix: str = "") -> Fused:
    """Fuses a batch of the fusion pool under its own prompts; suffix "_reference": its clean images."""

    def apply(method, *args):
        return model.apply({"params": params}, *args, method=method)

    size, latents = batch["visible"].shape[:3], []
    for modality in MODALITIES:
        prompts = clean_prompts(modality, size[0]) if suffix else batch[f"{modality}_prompt_ids"]
        latents.append(apply("encode", batch[modality + suffix], apply("tokens", prompts)))
    z, w = apply("fuse", *latents)
    image = apply("decode", z)[:, : size[1], : size[2]]
    return Fused(FusionOutput(image, mix_features(*latents, w)), z, tuple(latents))


class Judged(NamedTuple):
    """A batch fused as it is and from its clean images, L_II of the former, its terms and the fused luma."""

    bad: Fused
    good: Fused
    total: Array
    terms: dict[str, Array]


def judge_batch(model: Lure, stage, params, batch) -> Judged:
    """What `fuse_batch` gives, and L_II against the clean images.

    `stage.loss` may hold weights of `FusionWeights`. Raises UserError if the crops are too small for VIF's windows.
    """
    if (side := min(batch["visible"].shape[1:3])) < LEAST_CROP:
        raise UserError(f"config.stages.*.crop={side} is too small for the fusion loss: at least {LEAST_CROP} pixels.")
    weights = FusionWeights(**stage.get("loss", {}))
    bad, good = fuse_batch(model, params, batch), fuse_batch(model, params, batch, "_reference")
    terms = fusion_losses(bad.output.image, batch["visible_reference"], batch["infrared_reference"])
    total = sum(getattr(weights, name) * value for name, value in terms.items())
    terms["latent"] = latent_distance(bad.latent, stop_gradient(good.latent))
    return Judged(bad, good, total + LATENT * terms["latent"], terms | {"luma": luma(bad.output.image).mean()})


def rule(model: Lure, stage, decoder: float = 0.0) -> Objective:
    """Stage IIa: the fusion rule L_II with encoder and decoder frozen; targets are the clean images.

    Args:
      model: the network.
      stage: the stage's config; `loss` may hold weights of `FusionWeights`.
      decoder: learning-rate factor of the decoder.

    Returns:
      An objective over the fusion pool.
    """

    def loss(params, batch, rng, step, aux):
        del rng, step
        judged = judge_batch(model, stage, params, batch)
        return judged.total, (judged.terms, aux)

    frozen = dict.fromkeys(("encoder", *REFINING, "text"), 0.0) | {"decoder": decoder}
    return Objective("lure_joint" if decoder else "lure_rule", loss, frozen)


def joint(model: Lure, stage) -> Objective:
    """Stage IIb: as `rule`, and the decoder follows at a tenth of the learning rate."""
    return rule(model, stage, decoder=0.1)


def clean(model: Lure, stage) -> Objective:
    """As `rule`, and the tokens of both prompts "clean" follow: what an image without damage becomes in latent space.

    Ours. L_II + r (L_rec(visible) + L_rec(infrared)), L_rec the image loss of D(E(x, "clean")) against x itself.
    Nothing else changes: not restoration, whose prompts have other tokens, nor the condition head, which reads none.

    Args:
      model: the network, with the text source "table".
      stage: as in `rule`; r is `reproduction` (50 if it is not given).

    Returns:
      An objective over the fusion pool.

    Raises:
      UserError: the model's text source has no tokens of its own for each condition.
    """
    _check_table(model, "lure_clean")
    weight = stage.get("reproduction", REPRODUCTION)

    def loss(params, batch, rng, step, aux):
        del rng, step
        params = _training_tokens(params, ("clean",))
        _, good, total, terms = judge_batch(model, stage, params, batch)
        for modality, (copy, image) in decoded(model, params, good.sources, batch).items():
            terms[f"reproduction_{modality}"] = image_loss(copy, image)
            total += weight * terms[f"reproduction_{modality}"]
        return total, (terms, aux)

    return Objective("lure_clean", loss, dict.fromkeys(("encoder", *REFINING, "decoder"), 0.0))


def conditions(model: Lure, stage) -> Objective:
    """The tokens of conditions alone: what a bad pair is fused into is to be what its clean pair is fused into.

    Ours, for when fuser and "clean" have moved on. L(fused bad, fused clean) + r (L_rec(visible) + L_rec(infrared)),
    each the image loss; the fused clean pair has the visible image's chroma and no gradient. The tokens of "clean" and
    those of `SETTLED` rest, if nothing decays.

    Args:
      model: the network, with the text source "table".
      stage: the stage's config; r is `restoration` (0.5 if it is not given).

    Returns:
      An objective over the fusion pool.

    Raises:
      UserError: the model's text source has no tokens of its own for each condition.
    """
    _check_table(model, "lure_conditions")
    weight = stage.get("restoration", RESTORATION)
    trained = {condition.name for condition in CONDITIONS} - {"clean", *SETTLED}

    def loss(params, batch, rng, step, aux):
        del rng, step
        params = _training_tokens(params, trained)
        good = stop_gradient(fuse_batch(model, params, batch, "_reference").output.image)
        target = jnp.clip(with_chroma(good, batch["visible_reference"], jnp.ones(len(good))), 0, 1)
        bad = fuse_batch(model, params, batch)
        terms = {"fused": image_loss(bad.output.image, target)}
        total, metrics = terms["fused"], {"psnr_fused": psnr(bad.output.image, target)}
        for modality, (restored, image) in decoded(model, params, bad.sources, batch).items():
            terms[f"restoration_{modality}"] = image_loss(restored, image)
            metrics[f"psnr_{modality}"] = psnr(restored, image)
            total += weight * terms[f"restoration_{modality}"]
        return total, (terms | metrics, aux)

    return Objective("lure_conditions", loss, TEXT_ALONE)


def decoded(model: Lure, params, sources: tuple[Latent, Latent], batch) -> dict[str, tuple[Array, Array]]:
    """Of each modality the decoded latent and the clean image, both (B,H,W,3)."""
    pairs = {}
    for modality, latent in zip(MODALITIES, sources, strict=True):
        image = batch[f"{modality}_reference"]
        copy = model.apply({"params": params}, latent.z, method="decode")[:, : image.shape[1], : image.shape[2]]
        pairs[modality] = copy, jnp.broadcast_to(image, copy.shape)
    return pairs


def _check_table(model: Lure, objective: str) -> None:
    if model.text_source != "table":
        raise UserError(
            f"config.model.text={model.text_source!r} has no tokens that stand for one condition alone, which "
            f"config.stages.*.objective={objective!r} trains; choose config.model.text='table', or 'lure_rule'."
        )


def _training_tokens(params, names: Collection[str]):
    """The parameters, of whose tokens only those of the named conditions have a gradient."""
    chosen = jnp.asarray([condition.name in names for condition in CONDITIONS])[:, None, None]
    table = params["text"]["table"]
    return params | {"text": {"table": jnp.where(chosen, table, stop_gradient(table))}}
