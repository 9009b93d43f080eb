"""What blurred an image, told by its spectrum; and the image with that undone, by Wiener's filter."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lure_jax.metrics.color import luma
from lure_jax.models.blocks import Pointwise
from lure_jax.models.masks import Mask, masked_mean

WINDOW, STEP = 24, 8  # pixels of a window of the spectrum, and to the next
FAINT = 1e-5  # power added before the logarithm
USUAL = -8.0  # mean of the logarithms
REACH = 9  # pixels from the middle of a blur kernel to its border
RADIUS = 2.3, 1.0  # of a disc: what is told as nought, and one more
LENGTH = 10.0, 3.0  # of a line
CAUTION = -4.0, 8.0  # least and most of what is told of noise
NOISE = -7.0  # logarithm of what of noise is assumed where nought is told
POINTS = 65  # on a line
BEYOND = 32  # pixels in which the border, repeated, fades to the mean


def _window() -> Float[np.ndarray, "24 24"]:
    rise = np.sin(np.pi * (np.arange(WINDOW) + 1) / (WINDOW + 1)) ** 2
    return (rise[:, None] * rise).astype(np.float32)


def log_spectrum(gray: Float[Array, "B H W"], mask: Mask) -> Float[Array, "B 24*13"]:
    """Mean over windows of log(|DFT|^2 + 1e-5); windows begin at multiples of 8 pixels, less their mean, by Hann.

    Averages of logarithms of spectra tell what all windows share: Cannon, "Blind deconvolution of spatially invariant
    image blurs with phase", IEEE Trans. ASSP 1976.

    Args:
      gray: in [0,1].
      mask: (B,H,W,1), 0 on padding: a window must lie within the image.
    """
    batch, height, width = gray.shape
    blocks, reach = WINDOW // STEP, WINDOW // STEP - 1
    valid = jnp.ones_like(gray) if mask is None else (mask[..., 0] > 0).astype(gray.dtype)
    gray, valid = (jnp.pad(a, ((0, 0), (0, -height % STEP), (0, -width % STEP))) for a in (gray, valid))
    rows, columns = gray.shape[1] // STEP, gray.shape[2] // STEP
    x = gray.reshape(batch, rows, STEP, columns, STEP).swapaxes(2, 3)
    x = jnp.pad(x, ((0, 0), (0, reach), (0, reach), (0, 0), (0, 0)))
    x = jnp.concatenate([x[:, i : i + rows] for i in range(blocks)], 3)
    x = jnp.concatenate([x[:, :, i : i + columns] for i in range(blocks)], 4)
    x = (x - x.mean((3, 4), keepdims=True)) * _window()
    places = np.arange(WINDOW)
    down, along = waves(places, places, WINDOW), waves(places, places[: WINDOW // 2 + 1], WINDOW)
    real, imaginary = x @ along.cos, x @ along.sin
    power = (down.cos.T @ real - down.sin.T @ imaginary) ** 2 + (down.cos.T @ imaginary + down.sin.T @ real) ** 2
    logs = jnp.log(power + FAINT).reshape(batch, rows, columns, -1)
    last = jnp.pad(valid, ((0, 0), (0, WINDOW), (0, WINDOW)))[:, WINDOW - 1 :: STEP, WINDOW - 1 :: STEP]
    whole = valid[:, ::STEP, ::STEP] * last[:, :rows, :columns]
    return masked_mean(logs, whole[..., None])


def disc(radius: Float[Array, "B"]) -> Float[Array, "B 19 19"]:
    """Discs with soft edges that sum to one: defocus, as `data.kernels.disc_kernel`."""
    y, x = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]
    taps = jnp.clip(radius[:, None, None] + 0.5 - np.hypot(y, x), 0, 1)
    return taps / taps.sum((1, 2), keepdims=True)


def line(length: Float[Array, "B"], double_angle: Float[Array, "B 2"]) -> Float[Array, "B 19 19"]:
    """Lines through the middle that sum to one: motion, as `data.kernels.line_kernel`.

    Args:
      length: pixels.
      double_angle: cosine and sine of twice the angle to the rows.
    """
    cos2, sin2 = jnp.split(double_angle / jnp.sqrt((double_angle**2).sum(-1, keepdims=True) + 1e-6), 2, -1)
    along = length[:, None] * np.linspace(-0.5, 0.5, POINTS, dtype=np.float32)
    x = along * jnp.sqrt(jnp.maximum((1 + cos2) / 2, 1e-6))
    y = along * jnp.sqrt(jnp.maximum((1 - cos2) / 2, 1e-6)) * jnp.where(sin2 < 0, -1, 1)
    near = [jnp.maximum(1 - jnp.abs(np.arange(-REACH, REACH + 1) - a[..., None]), 0) for a in (y, x)]
    return jnp.einsum("bpy,bpx->byx", *near) / POINTS


class Blur(NamedTuple):
    """A kernel that blurs, and the logarithm of what of noise is assumed."""

    kernel: Float[Array, "B 19 19"]
    noise: Float[Array, "B"]


class BlurKernel(nn.Module):
    """The blur that a spectrum tells of: a line, a disc or none, or a mixture of them; two hidden layers."""

    width: int = 48

    @nn.compact
    def __call__(self, spectrum: Float[Array, "B N"]) -> Float[Array, "B 8"]:
        """Logits of line, disc and none; radius; length; cosine and sine of the double angle; noise."""
        x = nn.gelu(Pointwise(self.width, name="first")(spectrum - USUAL))
        x += nn.gelu(Pointwise(self.width, name="second")(x))
        return Pointwise(8, name="answer")(x)


def blur_of(told: Float[Array, "B 8"]) -> Blur:
    """What `BlurKernel` tells, as a kernel."""
    kinds = nn.softmax(told[:, :3])[..., None, None]
    none = jnp.zeros((2 * REACH + 1,) * 2).at[REACH, REACH].set(1)
    radius = jnp.clip(RADIUS[0] + RADIUS[1] * told[:, 3], 0.5, REACH - 1)
    length = jnp.clip(LENGTH[0] + LENGTH[1] * told[:, 4], 0, 2 * REACH)
    kernel = kinds[:, 0] * line(length, told[:, 5:7]) + kinds[:, 1] * disc(radius) + kinds[:, 2] * none
    return Blur(kernel, jnp.clip(told[:, 7], *CAUTION) + NOISE)


class Waves(NamedTuple):
    """cos and sin of 2 pi x f / n, for positions x of n along an axis (rows) and frequencies f (columns)."""

    cos: Float[Array, "n f"]
    sin: Float[Array, "n f"]


def waves(positions: Array | np.ndarray, frequencies: Array | np.ndarray, size: Array | int) -> Waves:
    """Of a discrete Fourier transform of `size`."""
    angle = 2 * np.pi / size * (positions[:, None] * frequencies)
    return Waves(jnp.cos(angle), jnp.sin(angle))


def deconvolve(image: Float[Array, "B H W C"], blur: Blur, mask: Mask) -> Float[Array, "B H W C"]:
    """Wiener's filter K / (K^2 + n (r^2 + 0.0002)), K the kernel's spectrum and r the frequency in cycles a pixel.

    Noise counts more where natural images have little. The Fourier transform is one of matrix products, which every
    back end has, for any size.
    """
    height, width = image.shape[1:3]
    mean = masked_mean(image, mask)[:, None, None]
    x = image - mean
    for axis, other in ((1, 2), (2, 1)):
        x = _faded(x, None if mask is None else mask.max(other)[..., 0], axis)
    x = x.transpose(0, 3, 1, 2)
    tall, wide = x.shape[2:]
    rows, columns = (jax.lax.iota(jnp.float32, n) for n in (tall, wide))
    across = jax.lax.iota(jnp.float32, wide // 2 + 1)  # a real image has the others twice
    down, along = waves(rows, rows, tall), waves(columns, across, wide)
    real, imaginary = _product(x, along.cos), -_product(x, along.sin)
    real, imaginary = (
        _product(down.cos, real) + _product(down.sin, imaginary),
        _product(down.cos, imaginary) - _product(down.sin, real),
    )
    gain = _wiener(blur, rows, across, tall, wide)[:, None]
    real, imaginary = real * gain, imaginary * gain
    real, imaginary = (
        _product(down.cos, real) - _product(down.sin, imaginary),
        _product(down.cos, imaginary) + _product(down.sin, real),
    )
    twice = jnp.where((across == 0) | (2 * across == wide), 1.0, 2.0) / (tall * wide)
    x = _product(real * twice, along.cos.T) - _product(imaginary * twice, along.sin.T)
    return x.transpose(0, 2, 3, 1)[:, BEYOND : BEYOND + height, BEYOND : BEYOND + width] + mean


def _product(a: Array, b: Array) -> Array:
    """Of matrices, in float32 everywhere: some accelerators would take fewer bits."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _wiener(blur: Blur, rows: Array, across: Array, tall: Array | int, wide: Array | int) -> Float[Array, "B tall f"]:
    """The filter of `deconvolve`. Our kernels are symmetric about their middle, so that their spectra are real."""
    around = np.arange(-REACH, REACH + 1, dtype=np.float32)
    down, along = waves(rows, around, tall), waves(around, across, wide)
    kernel = _product(_product(down.cos, blur.kernel), along.cos)
    kernel -= _product(_product(down.sin, blur.kernel), along.sin)
    squared = (jnp.minimum(rows, tall - rows) / tall)[:, None] ** 2 + (across / wide) ** 2
    return kernel / (kernel**2 + jnp.exp(blur.noise)[:, None, None] * 100 * (squared + 2e-4))


def _faded(x: Float[Array, "B H W C"], rows: Float[Array, "B n"] | None, axis: int) -> Float[Array, "B H+64 W C"]:
    """Extends an axis by `BEYOND` on both sides: the border repeated, falling to nought."""
    size = x.shape[axis]
    places = jax.lax.iota(jnp.float32, size + 2 * BEYOND)[None] - BEYOND
    last = jnp.full((1, 1), size - 1.0) if rows is None else (rows > 0).sum(1, keepdims=True) - 1.0
    away = jnp.maximum(jnp.maximum(-places, places - last), 0)
    index = jnp.broadcast_to(jnp.clip(places, 0, last).astype(jnp.int32), (x.shape[0], places.shape[1]))
    shape = [-1, 1, 1, 1]
    shape[axis] = places.shape[1]
    x = jnp.take_along_axis(x, index.reshape(shape), axis)
    return x * jnp.maximum(1 - away / BEYOND, 0).reshape(shape)


class Sharpening(nn.Module):
    """What undoing the blur that the spectrum tells adds to an image: share (deconvolved - image), at first nought."""

    @nn.compact
    def __call__(self, image: Float[Array, "B H W 3"], mask: Mask = None) -> Float[Array, "B H W 3"]:
        blur = blur_of(BlurKernel(name="blur")(log_spectrum(luma(image), mask)))
        share = self.param("share", nn.with_logical_partitioning(nn.initializers.zeros, (None,)), (1,))
        return share * (jnp.clip(deconvolve(image, blur, mask), 0, 1) - image)
