"""What the degradations are made of: small kernels, correlation with them, smooth fields, sensor noise."""

import cv2
import numpy as np
from jaxtyping import Float

Image = Float[np.ndarray, "H W C"]


def shift_sum(image: Image, taps: Float[np.ndarray, "k k"]) -> Image:
    """Correlates with a small odd kernel, borders repeated; skips the kernel's zeros."""
    radius = taps.shape[0] // 2
    height, width = image.shape[:2]
    padded = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    out, part = np.zeros_like(image), np.empty_like(image)  # memory for each product anew would cost more than it
    for i, j in zip(*np.nonzero(taps), strict=True):
        out += np.multiply(padded[i : i + height, j : j + width], taps[i, j], out=part)
    return out


def line_kernel(length: int, angle: float) -> Float[np.ndarray, "k k"]:
    """An antialiased straight line of `length` pixels at `angle` radians, summing to one (motion blur)."""
    radius = length // 2 + 1
    taps = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    along = np.linspace(-length / 2, length / 2, 4 * length + 1)
    y, x = radius + along * np.sin(angle), radius + along * np.cos(angle)
    i, j = y.astype(int), x.astype(int)
    for di, dj in ((0, 0), (0, 1), (1, 0), (1, 1)):
        inside = (i + di < taps.shape[0]) & (j + dj < taps.shape[1])
        weights = (1 - abs(y - i - di)) * (1 - abs(x - j - dj))
        np.add.at(taps, (i[inside] + di, j[inside] + dj), weights[inside])
    taps[taps < 1e-3 * taps.max()] = 0
    return taps / taps.sum()


def disc_kernel(radius: float) -> Float[np.ndarray, "k k"]:
    """A disc with soft edge, summing to one (defocus)."""
    size = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-size : size + 1, -size : size + 1]
    taps = np.clip(radius + 0.5 - np.hypot(y, x), 0, 1).astype(np.float32)
    return taps / taps.sum()


def smooth_field(rng: np.random.Generator, height: int, width: int, cells: int = 3) -> Float[np.ndarray, "H W 1"]:
    """Smooth noise in [0,1]: bilinear interpolation of a (cells+1)^2 grid of uniform values."""
    grid = rng.random((cells + 1, cells + 1))
    y, x = np.linspace(0, cells, height), np.linspace(0, cells, width)
    i, j = np.minimum(y.astype(int), cells - 1), np.minimum(x.astype(int), cells - 1)
    fy, fx = (y - i)[:, None], (x - j)[None]
    rows = grid[i] * (1 - fy) + grid[i + 1] * fy
    return (rows[:, j] * (1 - fx) + rows[:, j + 1] * fx)[..., None].astype(np.float32)


def gaussian_poisson(image: Image, rng: np.random.Generator, shot: float, read: float) -> Image:
    """Adds noise of variance shot * x + read^2 (the usual sensor model, as a heteroscedastic Gaussian)."""
    sd = np.sqrt(shot * np.maximum(image, 0) + read**2)
    return image + sd * rng.standard_normal(image.shape, np.float32)


def guided_filter(
    guide: Float[np.ndarray, "H W"], target: Float[np.ndarray, "H W"], radius: int, regularisation: float
) -> Float[np.ndarray, "H W"]:
    """The target smoothed within squares of 2 `radius` + 1 pixels, but for edges that the guide has.

    Source: He, Sun, Tang, "Guided image filtering", TPAMI 2013; `regularisation` is its epsilon.
    """

    def mean(values):
        return cv2.blur(values, (2 * radius + 1,) * 2)

    covariance = mean(guide * target) - mean(guide) * mean(target)
    slope = covariance / (mean(guide**2) - mean(guide) ** 2 + regularisation)
    return mean(slope) * guide + mean(mean(target) - slope * mean(guide))
