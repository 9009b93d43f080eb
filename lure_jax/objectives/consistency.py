"""Cross-segmentation consistency: what two heads can learn from each other without a label (method B).

SSVIF (arXiv 2509.22450); reconstruction. `a` and `b` are logits B,h,w,K at stride 4; every loss is in units of log K.
Means over the batch are over the whole of it: under jit on a mesh, over all devices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from lure_jax.metrics.color import luma

EDGE = 10.0  # how fast an edge of the image lifts the demand for smoothness

Logits = Float[Array, "B h w K"]


class ConsistencyWeights(NamedTuple):
    """Weights of L_e, L_eq and L_s beside L_x, 0 leaves a term out; and how far L_x's answers are balanced.

    The method has .3 L_eq, which with small photometric changes leaves heads that know brightness alone.
    """

    balance: float = 1.0
    entropy: float = 2.0
    equivariance: float = 1.0
    smoothness: float = 0.1


def cross_entropy(logits: Logits, target: Logits) -> Float[Array, "B h w"]:
    """-sum_k target_k log softmax(logits)_k / log K of each pixel; `target` are probabilities."""
    return -jnp.sum(target * jax.nn.log_softmax(logits), -1) / jnp.log(logits.shape[-1])


def cross_loss(a: Logits, b: Logits, balance: float = 0.0) -> Float[Array, ""]:
    """L_x = 0.5 [CE(a, sg argmax b) + CE(b, sg argmax a)] / log K: each head takes the other's answer for true.

    With `balance` 1 the answer is argmax(log q - log mean q), q = softmax(b): what speaks for a cluster more than it
    does on average over the batch. The plain argmax (balance 0) makes the most frequent cluster the answer everywhere
    within some 50 steps, L_e or not: mean q stays nearly uniform as every pixel gives all others the same rest.
    """

    def answer(logits):
        prior = jnp.log(jax.nn.softmax(logits).mean((0, 1, 2)) + 1e-9)
        balanced = jax.nn.log_softmax(logits) - balance * prior
        return stop_gradient(jax.nn.one_hot(balanced.argmax(-1), logits.shape[-1]))

    hard_a, hard_b = answer(a), answer(b)
    return 0.5 * (cross_entropy(a, hard_b).mean() + cross_entropy(b, hard_a).mean())


def marginal_entropy(logits: Logits) -> Float[Array, ""]:
    """H(mean p) / log K in [0,1], p = softmax over clusters, mean over the batch and its pixels."""
    mean = jax.nn.softmax(logits).mean((0, 1, 2))
    return -jnp.sum(mean * jnp.log(mean + 1e-9)) / jnp.log(logits.shape[-1])


def entropy_loss(a: Logits, b: Logits) -> Float[Array, ""]:
    """L_e = 1 - 0.5 (H(mean p) + H(mean q)) / log K: keeps the clusters in use; 0 if all are used equally."""
    return 1 - 0.5 * (marginal_entropy(a) + marginal_entropy(b))


def equivariance_loss(changed: Logits, target: Logits, inside: Float[Array, "B h w"]) -> Float[Array, ""]:
    """L_eq of one head: cross-entropy of its answer to the augmented input, over valid pixels.

    Args:
      changed: logits of the augmented input.
      target: the plain prediction's probabilities, warped by the geometric part alone; no gradient.
      inside: 1 where the target is valid.
    """
    error = cross_entropy(changed, stop_gradient(target))
    return jnp.sum(error * inside) / jnp.maximum(jnp.sum(inside), 1.0)


def smoothness_loss(logits: Logits, image: Float[Array, "B H W 3"]) -> Float[Array, ""]:
    """L_s of one head: mean over pixels of sum_k |d p_k| exp(-10 |d sg Y|), over both directions d.

    Args:
      logits: at stride 4.
      image: the fused image, whose luma is resized to the logits' size.
    """
    p = jax.nn.softmax(logits)
    y = stop_gradient(jax.image.resize(luma(image), p.shape[:3], "linear"))

    def along(axis):
        slope = jnp.abs(jnp.diff(p, axis=axis)).sum(-1)
        return jnp.mean(slope * jnp.exp(-EDGE * jnp.abs(jnp.diff(y, axis=axis))))

    return along(1) + along(2)
