"""The dynamic weights' state through the real loop and its checkpoints, on the toy network."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import toy_recipe as toy

from lure_jax.objectives.schedules import WeightState, gaussian_ramp, ssvif_weights

SCHEDULE = ssvif_weights(gaussian_ramp(0.2, 5), window=3)


@dataclasses.dataclass(frozen=True)
class Weighed(toy.Regression):
    """The toy's error, weighed by the schedule, whose state is the aux."""

    def begin(self, previous_aux):
        return SCHEDULE.init(reference=0.5) if previous_aux is None else previous_aux

    def loss(self, params, batch, rng, step, aux):
        error, (metrics, _) = super().loss(params, batch, rng, step, {"seen": jnp.zeros((), jnp.int32)})
        weights = SCHEDULE(aux)
        aux = SCHEDULE.update(aux, losses=jnp.stack([error, 2 * error**2]))
        return weights.fusion * error, (metrics | weights._asdict(), aux)


def stages():
    first, second = toy.make_stages((6, 8))
    return [dataclasses.replace(stage, objective=Weighed()) for stage in (first, second)]


def test_resumed_is_unstopped_to_the_bit(tmp_path):
    save = dict(every=5, keep=20, best="", best_mode="max")
    whole = toy.run(tmp_path / "whole", stages=stages(), checkpoint=save)
    for step in (5, 10):
        target = tmp_path / str(step) / "checkpoints" / str(step)
        shutil.copytree(tmp_path / "whole" / "checkpoints" / str(step), target)
        resumed = toy.run(tmp_path / str(step), stages=stages())
        assert isinstance(resumed.aux, WeightState) and int(resumed.aux.count) == 14
        jax.tree.map(np.testing.assert_array_equal, resumed, whole)
