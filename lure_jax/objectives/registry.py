"""Objectives by the name a stage's config gives them."""

import dataclasses

from lure_jax.errors import UserError
from lure_jax.models.segmentation import PREFIXES
from lure_jax.objectives import lure, ssvif, supervised
from lure_jax.objectives.objective import Objective
from lure_jax.text.asked import REFINING

OBJECTIVES = {
    "lure_space": lure.space,
    "lure_tokens": lure.tokens,
    "lure_repair": lure.repair,
    "lure_rule": lure.rule,
    "lure_clean": lure.clean,
    "lure_conditions": lure.conditions,
    "lure_joint": lure.joint,
    "segmentation": supervised.segmentation,
    "detection": supervised.detection,
}
WITH_HEADS = {
    "ssvif_heads": ssvif.ssvif_heads,
    "ssvif_joint": ssvif.ssvif_joint,
    "supervised_heads": ssvif.supervised_heads,
    "supervised_joint": ssvif.supervised_joint,
}


def build(stage, model, heads=None) -> Objective:
    """The objective of a stage.

    Args:
      stage: the stage's config, `objective` names one of `OBJECTIVES` or `WITH_HEADS`.
      model: the Flax module it trains.
      heads: the recipe's segmentation heads, which rest in the stages of `OBJECTIVES`.

    Raises:
      UserError: if there is no objective of that name, or it needs heads.
    """
    name = stage.objective
    if name in WITH_HEADS:
        if heads is None:
            raise UserError(f"config.stages.*.objective={name!r} needs segmentation heads, but config.heads is absent.")
        return _for_model(WITH_HEADS[name](model, heads, stage), model)
    if name not in OBJECTIVES:
        known = ", ".join([*OBJECTIVES, *WITH_HEADS])
        raise UserError(f"config.stages.*.objective={name!r} is not known; choose {known}.")
    objective = _for_model(OBJECTIVES[name](model, stage), model)
    if heads is None:
        return objective
    return dataclasses.replace(objective, lr_factors={**objective.lr_factors, **dict.fromkeys(PREFIXES, 0.0)})


def _for_model(objective: Objective, model) -> Objective:
    """What a model has no parameters for has no learning rate: a text source of codes, what only a preset has."""
    absent = set() if getattr(model, "trains_text", True) else {"text"}
    absent.update(set(REFINING) - set(getattr(model, "repairs", ())))
    factors = {prefix: factor for prefix, factor in objective.lr_factors.items() if prefix not in absent}
    return dataclasses.replace(objective, lr_factors=factors)
