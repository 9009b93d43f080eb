"""Objectives by the name a stage's config gives them."""

import dataclasses

from lure_jax.errors import UserError
from lure_jax.objectives import lure
from lure_jax.objectives.objective import Objective

OBJECTIVES = {
    "lure_space": lure.space,
    "lure_rule": lure.rule,
    "lure_joint": lure.joint,
}


def build(stage, model) -> Objective:
    """The objective of a stage.

    Args:
      stage: the stage's config, `objective` names one of `OBJECTIVES`.
      model: the Flax module it trains.

    Raises:
      UserError: if there is no objective of that name.
    """
    if stage.objective not in OBJECTIVES:
        raise UserError(f"config.stages.*.objective={stage.objective!r} is not known; choose {', '.join(OBJECTIVES)}.")
    return _without_text(OBJECTIVES[stage.objective](model, stage), model)


def _without_text(objective: Objective, model) -> Objective:
    """A text source without parameters has no learning rate."""
    if model.trains_text:
        return objective
    factors = {prefix: factor for prefix, factor in objective.lr_factors.items() if prefix != "text"}
    return dataclasses.replace(objective, lr_factors=factors)
