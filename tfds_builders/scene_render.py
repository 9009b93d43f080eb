"""Procedural street scenes, exactly registered in visible light and infrared, with labels and boxes."""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from tfds_builders import scene_street as street
from tfds_builders.scene_canvas import ALBEDO, EMIT, HEAT, NEAR, SUN, Camera, Canvas
from tfds_builders.scene_layout import populate
from tfds_builders.scene_street import World

CLASSES = ("unlabelled", "car", "person", "bike", "curve", "car_stop", "guardrail", "color_cone", "bump")
# What MFNet leaves unlabelled is in a dense label map one of these, by the names of Cityscapes
DENSE_CLASSES = (*CLASSES, "sky", "building", "road", "sidewalk", "terrain", "vegetation", "pole")
BOX_CLASSES = ("person", "bicycle", "car")
_MIN_SIDE = 32
_STEPS = 2**15


class Scene(NamedTuple):
    """One scene.

    Attributes:
      visible: RGB.
      infrared: grey.
      labels: indices of `CLASSES`.
      dense_labels: indices of `DENSE_CLASSES`, of which 0, "unlabelled", never occurs.
      boxes: (ymin, xmin, ymax, xmax) in 0..1.
      box_classes: indices of `BOX_CLASSES`.
      night: whether it is one.
    """

    visible: UInt8[np.ndarray, "H W 3"]
    infrared: UInt8[np.ndarray, "H W 1"]
    labels: UInt8[np.ndarray, "H W"]
    dense_labels: UInt8[np.ndarray, "H W"]
    boxes: Float[np.ndarray, "N 4"]
    box_classes: Int[np.ndarray, "N"]
    night: bool


def render_scene(seed: int, index: int, height: int = 240, width: int = 320) -> Scene:
    """Renders one street scene by day or night.

    Both modalities are shaded from the same layers: reflectance and lights give the visible image;
    temperature, atmosphere and sensor blur give the infrared one.

    Args:
      seed: names the data set.
      index: names the scene in it; equal (seed, index, height, width) give equal bytes.
      height: pixels, at least 32.
      width: pixels, at least 32.

    Returns:
      The scene.

    Raises:
      ValueError: seed or index is negative, or the image too small.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"render_scene: seed and index must be at least 0, got seed={seed}, index={index}.")
    if min(height, width) < _MIN_SIDE:
        raise ValueError(
            f"render_scene: height and width must be at least {_MIN_SIDE}, got {height}x{width}."
        )
    rng = np.random.default_rng((seed, index))
    camera = Camera(
        height,
        width,
        focal=rng.uniform(0.8, 1.1) * width,
        center=width * rng.uniform(0.42, 0.58),
        horizon=height * rng.uniform(0.42, 0.5),
        eye=rng.uniform(1.35, 1.8),
    )
    night = bool(rng.random() < 0.5)
    elevation, azimuth = rng.uniform(0.45, 1.0), rng.uniform(-2.6, -0.4) * rng.choice((-1, 1))
    sun = np.array(
        (np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation))
    )
    world = World(
        night=night,
        air=rng.uniform(2, 14) if night else rng.uniform(3, 16),
        sun=np.zeros(3) if night else sun,
        bend=rng.uniform(-8e-4, 8e-4),
        road=rng.uniform(3.2, 4.6),
        walk=rng.uniform(2.0, 3.5),
        beam=rng.uniform(0.6, 1.8),
        lamps=bool(rng.random() < 0.75),
    )
    canvas = Canvas(camera, rng)
    street.sky(canvas, world, rng)
    street.skyline(canvas, world, rng)
    street.ground(canvas, world, rng)
    populate(canvas, world, rng)
    boxes, box_classes = canvas.boxes()
    return Scene(
        _visible(canvas, world, rng),
        _infrared(canvas, world, rng)[..., None],
        np.where(canvas.labels < len(CLASSES), canvas.labels, np.uint8(0)),
        canvas.labels,
        boxes,
        box_classes,
        night,
    )


def _visible(canvas: Canvas, world: World, rng: np.random.Generator) -> UInt8[np.ndarray, "H W 3"]:
    """Lights the layers, adds haze, glare and sensor noise, and develops to sRGB."""
    planes, camera = canvas.planes, canvas.camera
    albedo, emit, near = planes[ALBEDO], planes[EMIT], np.maximum(planes[NEAR], 1e-3)
    light = np.empty_like(albedo)
    if world.night:
        _night_light(light, canvas, world, near)
    else:
        warm = 1.25 - 0.5 * world.sun[1]
        for plane, sky, direct in zip(light, (0.30, 0.36, 0.46), (2.0 * warm, 1.85, 1.65), strict=True):
            np.add(sky, direct * planes[SUN], out=plane)
    image = albedo * light + emit
    haze = 1 - np.exp(-1 / near / (900.0 if world.night else rng.uniform(250, 900)))
    for plane, air in zip(image, (0.010, 0.009, 0.011) if world.night else (0.70, 0.76, 0.83), strict=True):
        plane += haze * (air - plane)
    image += _glare(emit if world.night else np.maximum(image - 0.9, 0), 0.5 if world.night else 0.1)
    y = (np.arange(camera.height) / camera.height - 0.5)[:, None]
    x = np.arange(camera.width) / camera.width - 0.5
    image *= (1 - 0.5 * (x * x + y * y)).astype(np.float32) * (1.9 if world.night else 1.0)
    sigma = 0.006 if world.night else 0.003
    image += (
        (sigma + 0.02 * np.sqrt(np.maximum(image, 0))) * rng.standard_normal(image.shape, np.float32) * 0.6
    )
    exposed = _film()[np.clip(image * _STEPS, 0, 4 * _STEPS - 1).astype(np.int32)]
    return np.ascontiguousarray(exposed.transpose(1, 2, 0))


@functools.cache
def _film() -> UInt8[np.ndarray, "N"]:
    """Developed value of each exposure 0..4 in steps of 1 / _STEPS: soft shoulder, then gamma."""
    exposure = np.arange(4 * _STEPS) / _STEPS
    return (255 * (1 - np.exp(-1.55 * exposure)) ** (1 / 2.2) + 0.5).astype(np.uint8)


def _night_light(light, canvas: Canvas, world: World, near) -> None:
    """Sky glow, the own car's dipped beam and all lamps, by distance to each pixel's point in the world."""
    camera = canvas.camera
    z = 1 / near
    x = (np.arange(camera.width, dtype=np.float32)[None] - camera.center) / camera.focal * z
    y = camera.eye - (np.arange(camera.height, dtype=np.float32)[:, None] - camera.horizon) / camera.focal * z
    beam = world.beam * np.exp(-np.square(x / (1.5 + 0.22 * z))) / (1 + np.square(z / 9))
    beam *= 0.5 - 0.5 * np.tanh(2.5 * (y - 0.75))
    for plane, sky, lamp in zip(light, (0.022, 0.023, 0.032), (1.0, 0.95, 0.85), strict=True):
        np.add(sky, lamp * beam, out=plane)
    for position, colour in canvas.lights:
        down = position[1] - y
        squared = np.square(x - position[0]) + np.square(z - position[2]) + np.square(down) + 0.5
        power = np.clip(0.35 + 0.65 * down / np.sqrt(squared), 0, 1) / squared
        for plane, c in zip(light, colour, strict=True):
            plane += c * power


def _glare(bright, strength: float):
    """Light scattered in the lens: a wide blur of what is bright, computed at a quarter of the size."""
    _, height, width = bright.shape
    small_size = -(-width // 4), -(-height // 4)
    small = np.stack([Image.fromarray(plane).resize(small_size, Image.Resampling.BOX) for plane in bright])
    halo = strength * (0.5 * _blur(small, 1.2) + 0.35 * _blur(small, 4.0 * width / 320))
    return np.stack(
        [Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in halo]
    )


def _blur(image, sigma: float):
    """Separable Gaussian over the last two axes with repeated edges."""
    radius = max(int(3 * sigma), 1)
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    weights = (weights / weights.sum()).tolist()
    height, width = image.shape[-2:]
    edge = [(0, 0)] * (image.ndim - 2)
    rows = np.pad(image, [*edge, (radius, radius), (0, 0)], mode="edge")
    image = sum(w * rows[..., i : i + height, :] for i, w in enumerate(weights))
    cols = np.pad(image, [*edge, (0, 0), (radius, radius)], mode="edge")
    return sum(w * cols[..., i : i + width] for i, w in enumerate(weights))


def _infrared(canvas: Canvas, world: World, rng: np.random.Generator) -> UInt8[np.ndarray, "H W"]:
    """Temperatures through atmosphere, lens and gain control."""
    heat = canvas.planes[HEAT]
    passed = np.exp(-0.004 / np.maximum(canvas.planes[NEAR], 1e-3))
    heat = world.air + (heat - world.air) * passed
    heat = _blur(heat, 0.0022 * canvas.camera.width)
    middle = np.median(heat)
    heat = (
        heat
        + 0.12 * rng.standard_normal(heat.shape, np.float32)
        + 0.05 * rng.standard_normal(heat.shape[1], np.float32)
    )
    excess = heat - middle
    level = 0.34 + np.where(
        excess > 0, 0.66 * np.tanh(excess / rng.uniform(16, 21)), 0.34 * np.tanh(excess / 14)
    )
    return (255 * np.clip(level, 0.015, 1)).astype(np.uint8)
