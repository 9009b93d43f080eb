"""The unified loss of LURE's first stage: distances in the latent space, and losses of restored images (method A3).

After LURE (arXiv 2503.07033); reconstruction.
"""

import jax.numpy as jnp
import numpy as np
import optax
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int

from lure_jax.metrics.color import luma
from lure_jax.metrics.ssim import ssim
from lure_jax.text.conditions import CONDITIONS, MODALITIES


def channel_sd(z: Float[Array, "B h w Z"]) -> Float[Array, "Z"]:
    """Standard deviation of each channel over batch and pixels, plus 1e-3; no gradient."""
    return stop_gradient(z.std((0, 1, 2)) + 1e-3)


def latent_distance(a: Float[Array, "B h w Z"], b: Float[Array, "B h w Z"]) -> Float[Array, ""]:
    """d(a,b) = mean |a - sg b| / sg(sd_c(b)): standardised per channel by the clean batch b, >= 0."""
    return jnp.mean(jnp.abs(a - stop_gradient(b)) / channel_sd(b))


def latent_statistics_distance(a: Float[Array, "B h w Z"], b: Float[Array, "B h w Z"]) -> Float[Array, ""]:
    """L_dist = mean_c |mu_c - sg mu'_c| + |sd_c - sg sd'_c| of each image's standardised latent, >= 0."""
    scale = channel_sd(b)
    a, b = a / scale, stop_gradient(b) / scale
    means = jnp.abs(a.mean((1, 2)) - b.mean((1, 2)))
    spreads = jnp.abs(jnp.sqrt(a.var((1, 2)) + 1e-8) - jnp.sqrt(b.var((1, 2)) + 1e-8))
    return jnp.mean(means + spreads)


def image_loss(restored: Float[Array, "B H W 3"], reference: Float[Array, "B H W 3"]) -> Float[Array, ""]:
    """|D - x|_1 + 0.2 (1 - SSIM), SSIM on luma."""
    similarity = ssim(luma(restored), luma(reference)).mean()
    return jnp.abs(restored - reference).mean() + 0.2 * (1 - similarity)


def condition_loss(
    logits: Float[Array, "B 13"], conditions: Float[Array, "B 13"], modality: Int[Array, "B"]
) -> Float[Array, ""]:
    """Sigmoid cross-entropy over the conditions of each image's own modality ("clean" is none of them)."""
    asked = np.array([[c.modality == m and c.name != "clean" for c in CONDITIONS] for m in MODALITIES])
    asked = jnp.asarray(asked, logits.dtype)[modality]
    return jnp.sum(asked * optax.sigmoid_binary_cross_entropy(logits, conditions)) / asked.sum()


def psnr(image: Float[Array, "B H W C"], reference: Float[Array, "B H W C"]) -> Float[Array, ""]:
    """Mean over the batch of 10 log10(1 / MSE) in dB, for images in [0,1]."""
    error = jnp.square(jnp.clip(image, 0, 1) - reference).mean((1, 2, 3))
    return jnp.mean(-10 * jnp.log10(error + 1e-10))


def ramp(steps: int, end: float) -> optax.Schedule:
    """lam(t): linear from 0 to `end` over the first tenth of `steps`, then constant."""
    return optax.linear_schedule(0.0, end, max(steps // 10, 1))


def interleave(first: Float[Array, "B *S"], second: Float[Array, "B *S"]) -> Float[Array, "2B *S"]:
    """a0, b0, a1, b1, ...: put one after the other, half of the samples would change the device on a mesh."""
    return jnp.stack([first, second], 1).reshape(-1, *first.shape[1:])


def separate(x: Float[Array, "2B *S"]) -> tuple[Float[Array, "B *S"], Float[Array, "B *S"]]:
    """What `interleave` had put together."""
    both = x.reshape(-1, 2, *x.shape[1:])
    return both[:, 0], both[:, 1]
