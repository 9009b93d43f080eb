"""Small separable filters as shifted multiply-adds: on a CPU far faster than a depthwise convolution."""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Taps = tuple[float, ...]
Padding = Literal["same", "valid"]


def gaussian_taps(size: int, sd: float) -> Taps:
    """Returns `size` samples of a Gaussian of standard deviation `sd` pixels, centred, summing to one."""
    offsets = np.arange(size) - (size - 1) / 2
    taps = np.exp(-0.5 * (offsets / sd) ** 2)
    return tuple((taps / taps.sum()).tolist())


def uniform_taps(size: int) -> Taps:
    """Returns the taps of the mean over `size` pixels."""
    return (1 / size,) * size


def fence(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns `x`, and keeps XLA:CPU from fusing what makes it into what uses it.

    XLA:CPU fuses two passes of 11 taps into one loop of 121 and recomputes the inputs in every tap (25 times
    slower for the gradient of SSIM), and it drops `optimization_barrier` before it fuses; a branch it cannot
    decide is the fence that holds. Other compilers get the barrier. Not differentiable: for use inside a
    custom VJP and where no gradient is taken.
    """

    def branch(x):
        never = jax.lax.optimization_barrier(jnp.array(False))
        return jax.lax.cond(never, jnp.zeros_like, lambda x: x, x)

    return jax.lax.platform_dependent(x, cpu=branch, default=jax.lax.optimization_barrier)


def _shifted_sum(x, taps, axis, step):
    length = x.shape[axis] - (len(taps) - 1) * step
    parts = [
        tap * jax.lax.slice_in_dim(x, k * step, k * step + length, axis=axis)
        for k, tap in enumerate(taps)
        if tap
    ]
    return functools.reduce(jnp.add, parts)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _correlate(x, vertical, horizontal):
    """Correlates whole windows of (B, H, W, ...), channels folded into the columns to keep the loop simple."""
    batch, height, width, *channels = x.shape
    step = math.prod(channels)
    rows = fence(_shifted_sum(fence(x.reshape(batch, height, width * step)), vertical, 1, 1))
    out = fence(_shifted_sum(rows, horizontal, 2, step))
    return out.reshape(batch, out.shape[1], width - len(horizontal) + 1, *channels)


def _forward(x, vertical, horizontal):
    return _correlate(x, vertical, horizontal), None


def _backward(vertical, horizontal, _, g):
    # The transpose of a correlation is the padded correlation with the reversed taps. Left to itself, JAX
    # transposes each slice into a pad of the full image: several times slower.
    full = _pad(fence(g), len(vertical) - 1, len(horizontal) - 1)
    return (_correlate(full, vertical[::-1], horizontal[::-1]),)


_correlate.defvjp(_forward, _backward)


def _pad(x, rows, columns, mode="constant"):
    return jnp.pad(x, [(0, 0), (rows, rows), (columns, columns)] + [(0, 0)] * (x.ndim - 3), mode=mode)


def separable(
    x: Float[Array, "B H W *C"], vertical: Taps, horizontal: Taps, padding: Padding = "same"
) -> Float[Array, "B h w *C"]:
    """Correlates the rows' axis with `vertical` and the columns' axis with `horizontal`.

    Args:
      x: (B, H, W) or (B, H, W, C).
      vertical: taps along H.
      horizontal: taps along W.
      padding: "same" surrounds the image with zeros and needs odd lengths; "valid" keeps whole windows only.

    Returns:
      The filtered image: H x W for "same", (H - len(vertical) + 1) x (W - len(horizontal) + 1) for "valid".

    Raises:
      ValueError: the image is smaller than the window of a "valid" filter.
    """
    if padding == "same":
        x = _pad(x, len(vertical) // 2, len(horizontal) // 2)
    elif x.shape[1] < len(vertical) or x.shape[2] < len(horizontal):
        raise ValueError(
            f"image of {x.shape[1]}x{x.shape[2]} pixels is smaller than the filter's window of "
            f"{len(vertical)}x{len(horizontal)}; give a larger image."
        )
    return _correlate(x, vertical, horizontal)


def gaussian_blur(
    x: Float[Array, "B H W *C"], size: int, sd: float, padding: Padding = "same"
) -> Float[Array, "B h w *C"]:
    """Blurs with a `size` x `size` Gaussian window of standard deviation `sd` pixels that sums to one.

    Args:
      x: (B, H, W) or (B, H, W, C).
      size: odd window length.
      sd: standard deviation in pixels.
      padding: "same" (zeros outside, so borders darken) or "valid".

    Returns:
      The blurred image, see `separable` for its size.
    """
    taps = gaussian_taps(size, sd)
    return separable(x, taps, taps, padding)


def uniform(x: Float[Array, "B H W *C"], size: int, padding: Padding = "same") -> Float[Array, "B h w *C"]:
    """Returns the mean over `size` x `size` windows; arguments as `gaussian_blur`."""
    taps = uniform_taps(size)
    return separable(x, taps, taps, padding)


def sobel(x: Float[Array, "B H W *C"]) -> tuple[Float[Array, "B H W *C"], Float[Array, "B H W *C"]]:
    """Returns the Sobel gradients (gx, gy), zeros outside the image.

    gx correlates with [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]: positive where the image grows to the right;
    gy with its transpose. A step of height 1 answers with 4.

    Args:
      x: (B, H, W) or (B, H, W, C).

    Returns:
      (gx, gy), each of the shape of `x`.
    """
    smooth, difference = (1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)
    return separable(x, smooth, difference), separable(x, difference, smooth)
