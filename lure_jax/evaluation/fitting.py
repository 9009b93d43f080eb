"""Fits a few small matrices to what was measured once: all steps in one compiled loop."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def minimised(
    loss: Callable[[Any, Array], Float[Array, ""]], params: Any, optimizer: optax.GradientTransformation, steps: int
) -> Any:
    """The parameters after some steps down the gradient.

    Args:
      loss: parameters and the step's number -> what is to become small.
      params: to start from; their buffers are given away.
      optimizer: of optax.
      steps: how many.
    """

    @functools.partial(jax.jit, donate_argnums=0)
    def train(state):
        def step(state, number):
            params, moments = state
            changes, moments = optimizer.update(jax.grad(loss)(params, number), moments, params)
            return (optax.apply_updates(params, changes), moments), None

        return jax.lax.scan(step, state, jnp.arange(steps))[0]

    return train((params, optimizer.init(params)))[0]
