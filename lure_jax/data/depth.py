"""How far away what an image shows may be, for haze: in units in which the horizon of level ground is about 1."""

import cv2
import numpy as np
from jaxtyping import Float

from lure_jax.data.kernels import Image, guided_filter, smooth_field

NEAR = 0.1  # distance to one's feet, of that to where level ground can no longer be told from the horizon
THINGS = 2, 13  # least and most that stand in a scene
OUTLINE = 9  # places at which the width and the top of a thing are drawn
REACH = 6, 29  # pixels within which depth follows the image
REGULARISATION = 1e-3  # variance of the image from which it does


def smooth(rng: np.random.Generator, height: int, width: int, slope: float) -> Float[np.ndarray, "H W 1"]:
    """0.4 to 1, smooth; by `slope` more upwards."""
    rows = np.linspace(slope, 0, height, dtype=np.float32)[:, None, None]
    return 0.4 + 0.3 * (rows + smooth_field(rng, height, width))


def level_ground(rng: np.random.Generator, height: int, width: int, horizon: float) -> Float[np.ndarray, "H W 1"]:
    """Of level ground in perspective: 0 at one's feet, 0.8 to 2 at `horizon` (a share of the height) and above."""
    field = smooth_field(rng, height, width)
    return _ground(height, horizon)[..., None] * (0.8 + 1.2 * field)


def scene(image: Image, rng: np.random.Generator, horizon: float) -> Float[np.ndarray, "H W 1"]:
    """Of level ground with things that stand on it, each as far away as its foot; 1.6 to 3.2 at the `horizon`.

    Where they stand is drawn; a guided filter gives them outlines that the image has.
    """
    height, width = image.shape[:2]
    far = 1.6 + 1.6 * smooth_field(rng, height, width)
    rows, columns = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    depth = np.repeat(_ground(height, horizon), width, 1)
    drawn = np.linspace(0, 1, OUTLINE)
    for _ in range(rng.integers(*THINGS, endpoint=True)):
        foot = 0.02 + 0.6 * rng.random() ** 2  # below the horizon, of all that is
        bottom = horizon + foot * (1 - horizon)
        half = (0.3 + foot) * rng.uniform(0.1, 0.6) * np.interp(rows, drawn, rng.uniform(0.5, 1, OUTLINE))
        middle = rng.uniform(-0.1, 1.1)
        top = bottom - rng.uniform(0.1, 1) * (0.4 + foot) + np.interp(columns, drawn, rng.uniform(-0.1, 0.1, OUTLINE))
        here = (rows < bottom) & (rows > top) & (np.abs(columns - middle) < half)
        depth = np.where(here, np.minimum(depth, _distance(foot)), depth)
    reach = int(rng.integers(*REACH, endpoint=True))
    depth = cv2.blur(depth.astype(np.float32), (2 * (reach // 3) + 1,) * 2)
    return np.clip(guided_filter(image.mean(-1), depth, reach, REGULARISATION), 0, 1)[..., None] * far


def _ground(height: int, horizon: float) -> Float[np.ndarray, "H 1"]:
    below = (np.linspace(0, 1, height, dtype=np.float32)[:, None] - horizon) / max(1 - horizon, 1e-3)
    return _distance(below)


def _distance(below: Float[np.ndarray, "*S"]) -> Float[np.ndarray, "*S"]:
    """Of level ground, 0 to 1: by the share of what lies between the horizon, 0, and one's feet, 1."""
    return (NEAR / np.clip(below, NEAR, 1) - NEAR) / (1 - NEAR)
