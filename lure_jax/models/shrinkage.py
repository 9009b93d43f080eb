"""Shrinkage of the cosine coefficients of overlapping windows: noise is small in all of them, an edge large in few."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lure_jax.models.blocks import Dtype, Pointwise, SeparableConv3x3, unshuffle
from lure_jax.models.masks import Mask, masked_mean

SIDE = 16  # pixels of a window
STEP = 4  # pixels from one window to the next
REACH = SIDE // STEP  # windows that hold a pixel, along each side
BANDS = (1, 1, 2, 4, 8)  # frequencies, along each side, that a threshold is told for together
OPPONENT = np.float32(np.array([[1, 1, 1], [1, 0, -1], [0.5, -1, 0.5]]) / np.sqrt([[3], [2], [1.5]]))
FAINT = 1e-6  # energy added before the logarithm: a quarter of an 8-bit step
USUAL = -6.0, 3.0  # mean and deviation of the logarithms, to begin with
THRESHOLD = -5.0  # logarithm of the energy of which half is kept, to begin with

Planes = Float[Array, "B 3 H W"]  # brightness and two opponent colours, orthonormal
Coefficients = Float[Array, "B 3 h 16 w 16"]  # of the window that begins at a place: frequencies down, then across


def cosines() -> Float[np.ndarray, "16 16"]:
    """The orthonormal cosine transform (DCT-II): frequencies of pixels."""
    k, n = np.mgrid[:SIDE, :SIDE]
    rows = np.cos(np.pi * (2 * n + 1) * k / (2 * SIDE)) * np.where(k == 0, 1, 2**0.5) / SIDE**0.5
    return rows.astype(np.float32)


def analyse(planes: Planes) -> Coefficients:
    """The coefficients of every window; beyond the image is nought. Sides are multiples of `STEP`."""
    batch, _, height, width = planes.shape
    x = _windows(planes.reshape(batch, 3, height, width // STEP, STEP), 3, 4) @ cosines().T
    x = _windows(x.reshape(batch, 3, height // STEP, STEP, width // STEP, SIDE), 2, 3)
    return jnp.einsum("bchywk,ly->bchlwk", x, cosines())


def synthesise(coefficients: Coefficients, weights: Float[Array, "B h w"]) -> Planes:
    """Every pixel as the mean of the windows that hold it, by their weights."""
    weights = weights[:, None, :, None, :, None]
    x = jnp.einsum("bchlwk,ly->bchywk", coefficients * weights, cosines())
    x = _overlaid(x, 2, 3).reshape(*x.shape[:2], -1, *x.shape[-2:])
    x = _overlaid(x @ cosines(), 3, 4).reshape(*x.shape[:3], -1)
    counted = _overlaid(_overlaid(weights.repeat(REACH, 3).repeat(REACH, 5), 2, 3, 1), 4, 5, 1)[:, :, :, 0, :, 0]
    return x / jnp.maximum(counted, 1e-6).repeat(STEP, 2).repeat(STEP, 3)


def _windows(x: Float[Array, "*B"], places: int, within: int) -> Float[Array, "*B"]:
    """Puts what the next places hold beside what each holds, along the axis `within`."""
    beyond = [(0, 0)] * x.ndim
    beyond[places] = (0, REACH - 1)
    padded, size = jnp.pad(x, beyond), x.shape[places]
    return jnp.concatenate([_part(padded, places, i, size) for i in range(REACH)], within)


def _overlaid(x: Float[Array, "*B"], places: int, within: int, step: int = STEP) -> Float[Array, "*B"]:
    """The adjoint of `_windows`: adds what of other windows lies at a place."""
    beyond = [(0, 0)] * x.ndim
    beyond[places] = (REACH - 1, 0)
    padded, size = jnp.pad(x, beyond), x.shape[places]
    return sum(_part(_part(padded, within, i * step, step), places, REACH - 1 - i, size) for i in range(REACH))


def _part(x: Float[Array, "*B"], axis: int, start: int, size: int) -> Float[Array, "*B"]:
    return x[(slice(None),) * axis + (slice(start, start + size),)]


def inside(valid: Float[Array, "B h w 1"]) -> Float[Array, "B h w 1"]:
    """1 where all of the window that begins at a place lies within the image, of places that do (1) or do not (0)."""
    ends = jnp.pad(valid, ((0, 0), (0, REACH - 1), (0, REACH - 1), (0, 0)))[:, REACH - 1 :, REACH - 1 :]
    return valid * ends


class Shrinking(nn.Module):
    """What shrinking the coefficients of windows adds to an image: share (mean over windows of (kept - 1) c).

    What is kept of a coefficient c is sigmoid(p (log c^2 - t)): with p = 1 the empirical Wiener filter
    c^2 / (c^2 + e^t), with a large p a threshold. A network tells t for each band, and the windows' weights, from the
    mean energies of the bands, here and over the image; p, and an addition to t, are parameters of each coefficient.
    The share begins at nought.

    Source: sliding DCT shrinkage (Yaroslavsky 1996; Yu and Sapiro, "DCT image denoising", IPOL 2011), with told
    instead of given thresholds.

    Attributes:
      width: hidden channels.
    """

    width: int = 64
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "B H W 3"], mask: Mask = None) -> Float[Array, "B H W 3"]:
        height, width = image.shape[1:3]
        valid = jnp.ones((*image.shape[:3], 1)) if mask is None else (mask > 0).astype(jnp.float32)
        beyond = ((0, 0), (0, -height % STEP), (0, -width % STEP), (0, 0))
        image, valid = jnp.pad(image, beyond), jnp.pad(valid, beyond)
        coefficients = analyse((image @ OPPONENT.T).transpose(0, 3, 1, 2))
        energies = jnp.log(coefficients**2 + FAINT)
        seen = (_banded(energies) - USUAL[0]) / USUAL[1]
        whole = inside(unshuffle(valid, STEP).min(-1, keepdims=True))
        overall = masked_mean(seen, whole)

        def dense(features, name, **options):
            return Pointwise(features, dtype=self.dtype, name=name, **options)

        y = dense(self.width, "first")(seen)
        y = nn.gelu(y + dense(self.width, "overall", use_bias=False)(overall)[:, None, None])
        for name in ("second", "third"):
            y += nn.gelu(SeparableConv3x3(self.width, dtype=self.dtype, name=name)(y, whole))
        y = dense(seen.shape[-1] + 1, "threshold", init=nn.initializers.zeros)(y).astype(jnp.float32)
        of_each = (3, 1, SIDE, 1, SIDE)
        more = self.param("more", nn.with_logical_partitioning(nn.initializers.zeros, (None,) * 5), of_each)
        sharpness = self.param("sharpness", nn.with_logical_partitioning(nn.initializers.ones, (None,) * 5), of_each)
        threshold = THRESHOLD + USUAL[1] * (_of_frequencies(y[..., :-1]) + more)
        lost = nn.sigmoid(sharpness * (threshold - energies)) * (jnp.arange(SIDE**2) > 0).reshape(1, SIDE, 1, SIDE)
        weights = (whole * jnp.exp(jnp.clip(y[..., -1:], -5, 5)))[..., 0]
        smooth = synthesise(-lost * coefficients, weights).transpose(0, 2, 3, 1) @ OPPONENT
        share = self.param("share", nn.with_logical_partitioning(nn.initializers.zeros, (None,)), (1,))
        return share * smooth[:, :height, :width]


def _banded(x: Coefficients) -> Float[Array, "B h w 3*n*n"]:
    """Means over the bands."""
    batch, _, height, _, width, _ = x.shape
    member = np.repeat(np.eye(len(BANDS), dtype=np.float32), BANDS, 0) / np.float32(BANDS)
    x = jnp.einsum("bchlwm,ln->bchnwm", x @ member, member)
    return x.transpose(0, 2, 4, 1, 3, 5).reshape(batch, height, width, -1)


def _of_frequencies(x: Float[Array, "B h w 3*n*n"]) -> Coefficients:
    """What is told for a band, for each of its frequencies."""
    x = x.reshape(*x.shape[:3], 3, len(BANDS), len(BANDS)).transpose(0, 3, 1, 4, 2, 5)
    band = np.repeat(np.arange(len(BANDS)), BANDS)
    return x[:, :, :, band][..., band]
