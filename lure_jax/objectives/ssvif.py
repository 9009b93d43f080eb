"""SSVIF's objectives: stage 1 teaches the heads, stage 2 lets what they learn reach the fusion network.

SSVIF (arXiv 2509.22450); reconstruction. The framework takes any fusion model: TwoStream, and Lure, whose fusion
rule it trains (ours, not the paper's). The supervised objectives are the upper line: labels in the place of L_c.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from lure_jax.errors import UserError
from lure_jax.metrics.color import luma
from lure_jax.metrics.filters import sobel
from lure_jax.metrics.ssim import ssim
from lure_jax.models.lure import FusionOutput, Lure, pad_to_multiple
from lure_jax.models.segmentation import STRIDE, Heads
from lure_jax.objectives import lure
from lure_jax.objectives.augmentation import draw_window, photometric, warp
from lure_jax.objectives.consistency import (
    ConsistencyWeights,
    cross_loss,
    entropy_loss,
    equivariance_loss,
    smoothness_loss,
)
from lure_jax.objectives.objective import Objective
from lure_jax.objectives.schedules import (
    PEAK,
    LossAverage,
    average,
    constant_weights,
    gaussian_ramp,
    ssvif_weights,
    start_average,
)
from lure_jax.objectives.supervised import label_loss
from lure_jax.text.conditions import MODALITIES

RAMP = 0.2  # of stage 2, until the consistency's gradient is at its peak

Terms = dict[str, Array]
Fuse = Callable[[Any, Any], FusionOutput]  # parameters, batch
Limit = Callable[[Array], Array]  # what passes of the gradient on its way back into the fusion network
Teach = Callable[..., tuple[Array, Terms]]  # (params, batch, rng, output, fuse, limit) -> loss of the heads, terms


class Fusion(NamedTuple):
    """How a model fuses a batch, and L_f of what it fused."""

    fuse: Fuse
    judge: Callable[[Any, Any], tuple[FusionOutput, Array, Terms]]


def fusion_loss(
    fused: Float[Array, "B H W 3"], visible: Float[Array, "B H W 3"], infrared: Float[Array, "B H W 1"]
) -> tuple[Array, Terms]:
    """L_f on luma, and its terms, all >= 0.

    L_f = |I - max(Y,IR)|_1 + 10 ||S I| - max(|S Y|,|S IR|)|_1 + 0.5 (2 - SSIM_v - SSIM_i), |S .| = (|gx| + |gy|) / 4
    of Sobel's gradients.
    """
    y_f, y_v, y_i = luma(fused), luma(visible), infrared[..., 0]
    slope_f, slope_v, slope_i = ((jnp.abs(gx) + jnp.abs(gy)) / 4 for gx, gy in map(sobel, (y_f, y_v, y_i)))
    terms = {
        "intensity": jnp.abs(y_f - jnp.maximum(y_v, y_i)).mean(),
        "gradient": jnp.abs(slope_f - jnp.maximum(slope_v, slope_i)).mean(),
        "similarity": 2 - ssim(y_f, y_v).mean() - ssim(y_f, y_i).mean(),
    }
    return terms["intensity"] + 10 * terms["gradient"] + 0.5 * terms["similarity"], terms


def fusion_of(model, stage) -> Fusion:
    """L_f of TwoStream is `fusion_loss` against the clean sources; that of Lure is its own L_II."""
    if isinstance(model, Lure):

        def judge_latents(params, batch):
            judged = lure.judge_batch(model, stage, params, batch)
            return judged.bad.output, judged.total, judged.terms

        return Fusion(lambda *a: lure.fuse_batch(model, *a).output, judge_latents)

    def fuse(params, batch):
        return model.apply({"params": params}, batch["visible"], batch["infrared"])

    def judge(params, batch):
        output = fuse(params, batch)
        return output, *fusion_loss(output.image, batch["visible_reference"], batch["infrared_reference"])

    return Fusion(fuse, judge)


def consistency(heads: Heads, stage) -> Teach:
    """L_c = L_x + 2 L_e + L_eq + 0.1 L_s, without labels; `stage.consistency` may hold other weights.

    L_x is balanced, see `cross_loss`, and L_eq has a weight of ours, see `ConsistencyWeights`.
    """
    weights = ConsistencyWeights(**stage.get("consistency", {}))

    def teach(params, batch, rng, output, fuse, limit):
        features, image = limit(output.features), limit(output.image)
        a, b = heads.apply({"params": params}, features, image)
        terms = {"cross": cross_loss(a, b, weights.balance), "entropy": entropy_loss(a, b)}
        if weights.equivariance:
            terms["equivariance"] = equivariance(params, batch, rng, image, (a, b), fuse, limit)
        if weights.smoothness:
            terms["smoothness"] = 0.5 * (smoothness_loss(a, image) + smoothness_loss(b, image))
        total = terms["cross"] + sum(getattr(weights, name) * terms[name] for name in terms if name != "cross")
        return total, terms | {"agreement": jnp.mean(a.argmax(-1) == b.argmax(-1))}

    def equivariance(params, batch, rng, image, plain, fuse, limit):
        """H reads the features of the augmented pair, G the augmented fused image; mean over both heads."""
        keys = jax.random.split(rng, 4)
        window = draw_window(keys[0], image.shape[0])
        pair = {m: photometric(key, warp(batch[m], window)[0]) for m, key in zip(MODALITIES, keys[1:3], strict=True)}
        features = limit(fuse(params, {**batch, **pair}).features)
        changed = heads.apply({"params": params}, features, photometric(keys[3], warp(image, window)[0]))
        losses = []
        for logits, before in zip(changed, plain, strict=True):
            target, inside = warp(jax.nn.softmax(stop_gradient(before)), window)
            losses.append(equivariance_loss(logits, target, inside))
        return 0.5 * sum(losses)

    return teach


def supervision(heads: Heads, stage) -> Teach:
    """Cross-entropy of both heads against the labels, / log K; labels that are no cluster (255) don't count."""
    del stage

    def teach(params, batch, rng, output, fuse, limit):
        del rng, fuse
        if "labels" not in batch:
            raise UserError("a supervised stage needs labels: set labels=True in the rows of config.data.fusion.")
        logits = heads.apply({"params": params}, limit(output.features), limit(output.image))
        # the pixel in the middle of what a logit sees
        labels = pad_to_multiple(batch["labels"][..., None], STRIDE)[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE, 0]
        losses, right = zip(*(label_loss(x, labels) for x in logits), strict=True)
        return 0.5 * sum(losses) / jnp.log(heads.clusters), {"accuracy_feature": right[0], "accuracy_pixel": right[1]}

    return teach


def heads_stage(name: str, teacher, model, heads: Heads, stage) -> Objective:
    """Stage 1: L_f on the fusion network, and the heads learn on sg(Phi), sg(I).

    Args:
      name: of the objective.
      teacher: `consistency` or `supervision`.
      model: the fusion model.
      heads: H and G.
      stage: the stage's config.

    Returns:
      An objective over the fusion pool; its aux is the moving average of L_f.
    """
    fusion, teach = fusion_of(model, stage), teacher(heads, stage)

    def loss(params, batch, rng, step, aux):
        del step
        output, l_f, fusion_terms = fusion.judge(params, batch)
        l_c, terms = teach(params, batch, rng, output, fusion.fuse, stop_gradient)
        metrics = fusion_terms | terms | {"fusion": l_f, "consistency": l_c}
        return l_f + l_c, (metrics, average(aux, l_f))

    frozen = {"encoder": 0.0, "text": 0.0, "decoder": 0.0} if isinstance(model, Lure) else {}
    return Objective(name, loss, frozen, lambda previous: start_average())


def joint_stage(name: str, teacher, model, heads: Heads, stage) -> Objective:
    """Stage 2: L = w_f L_f / Lbar_f + w_c L_c, and L_c's gradient reaches the fusion network scaled by alpha.

    Of Lure, it trains the fuser, and at a tenth of the learning rate the decoder and the encoder's way up.

    Args:
      name, teacher, model, heads: as in `heads_stage`.
      stage: the stage's config; `weights` is "dynamic" (`ssvif_weights`) or "constant".

    Returns:
      An objective over the fusion pool; its aux is the state of the weights.
    """
    fusion, teach, schedule = fusion_of(model, stage), teacher(heads, stage), make_schedule(stage)

    def begin(previous):
        if not isinstance(previous, LossAverage):
            raise UserError(f"config.recipe: a stage of {name!r} must follow its first stage, whose L_f it needs.")
        return schedule.init(reference=previous.mean)

    def loss(params, batch, rng, step, aux):
        del step
        weights = schedule(aux)
        output, l_f, fusion_terms = fusion.judge(params, batch)
        limit = functools.partial(scale_gradient, scale=weights.gradient)
        l_c, terms = teach(params, batch, rng, output, fusion.fuse, limit)
        total = weights.fusion * l_f / aux.reference + weights.consistency * l_c
        metrics = fusion_terms | terms | {"fusion": l_f, "consistency": l_c}
        metrics |= {f"weight_{key}": value for key, value in weights._asdict().items()}
        return total, (metrics, schedule.update(aux, losses=jnp.stack([l_f, l_c])))

    factors = {}
    if isinstance(model, Lure):
        up = [f"encoder/{part}_{i}" for part in ("grow", "merge", "up") for i in range(len(model.sizes.widths) - 1)]
        factors = {"encoder": 0.0, "text": 0.0} | dict.fromkeys(["decoder", *up], 0.1)
    return Objective(name, loss, factors, begin)


def make_schedule(stage):
    """The schedule that a stage's `weights` names."""
    kind = stage.weights
    if kind == "dynamic":
        return ssvif_weights(gaussian_ramp(PEAK, round(RAMP * stage.steps)))
    if kind == "constant":
        return constant_weights()
    raise UserError(f"config.stages.*.weights={kind!r} is not known; choose dynamic or constant.")


def scale_gradient(x, scale):
    """Every array of a pytree as it is, its gradient multiplied by `scale`."""
    return jax.tree.map(lambda a: stop_gradient(a) + scale * (a - stop_gradient(a)), x)


ssvif_heads = functools.partial(heads_stage, "ssvif_heads", consistency)
ssvif_joint = functools.partial(joint_stage, "ssvif_joint", consistency)
supervised_heads = functools.partial(heads_stage, "supervised_heads", supervision)
supervised_joint = functools.partial(joint_stage, "supervised_joint", supervision)
