"""Camera, natural noise and the layered buffer from which both modalities of a synthetic scene are shaded."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFilter

ALBEDO, EMIT, SUN, HEAT, NEAR = slice(0, 3), slice(3, 6), 6, 7, 8
_TILE = 512
_LARGE = 4000  # square pixels: larger masks are drawn with 2x2 instead of 4x4 samples
_SPECK = 0.4  # square pixels: smaller things are not drawn
_OWNED = 0.4  # coverage from which a pixel belongs to a layer: wheels and limbs are thin


@functools.cache
def noise_tile(slope: float) -> Float[np.ndarray, "1024 1024"]:
    """Periodic noise with the amplitude spectrum `1 / f**slope`, zero mean and unit variance.

    Args:
      slope: 0 is white; about 1 to 2 is the statistics of natural images.

    Returns:
      Two periods each way, the same at every call: scenes differ in the offset they read it at.
    """
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None])
    frequency[0, 0] = np.inf
    white = np.random.default_rng(7).standard_normal((_TILE, _TILE))
    noise = np.fft.irfft2(np.fft.rfft2(white) / frequency**slope, s=(_TILE, _TILE))
    return np.tile((noise / noise.std()).astype(np.float32), (2, 2))


class Camera(NamedTuple):
    """Pinhole camera looking along +Z over the ground plane Y = 0; X is right, Y up, metres."""

    height: int
    width: int
    focal: float
    center: float
    horizon: float
    eye: float

    def project(self, points) -> Float[np.ndarray, "N 2"]:
        """World points (N, 3) in metres to pixels (x, y); what lies behind the camera is put before it."""
        x, y, z = np.asarray(points, np.float64).T
        scale = self.focal / np.maximum(z, 0.4)
        pixels = np.empty((len(scale), 2))
        pixels[:, 0] = self.center + x * scale
        pixels[:, 1] = self.horizon + (self.eye - y) * scale
        return pixels

    def upright(self, x: float, z: float, right: float = 1.0, up: float = 1.0, base: float = 0.0):
        """The map from an upright plane at (x, z), facing the camera, to pixels.

        Args:
          x: metres right, of the plane's origin.
          z: metres ahead.
          right: metres a unit of the plane's first coordinate goes to the right; negative mirrors.
          up: metres a unit of its second coordinate goes up.
          base: metres above the ground of the plane's origin.

        Returns:
          A function from points (N, 2) of the plane to pixels (N, 2).
        """
        scale = self.focal / z
        origin = np.array((self.center + x * scale, self.horizon + (self.eye - base) * scale))
        unit = np.array((right * scale, -up * scale))
        return lambda points: origin + np.asarray(points) * unit


_CAP = np.linspace(np.pi / 2, 3 * np.pi / 2, 6)
_CIRCLE = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_CIRCLE = np.stack([np.cos(_CIRCLE), np.sin(_CIRCLE)], -1)


def limb(start, end, radius: float, end_radius: float) -> np.ndarray:
    """A tapered capsule between two points of the plane, as a polygon (12, 2)."""
    arc = _CAP + math.atan2(end[1] - start[1], end[0] - start[0])
    polygon = np.empty((12, 2))
    polygon[:6, 0], polygon[:6, 1] = np.cos(arc), np.sin(arc)
    polygon[6:] = polygon[:6] * -end_radius + end
    polygon[:6] = polygon[:6] * radius + start
    return polygon


def ellipse(center, radius_x: float, radius_y: float) -> np.ndarray:
    """An ellipse as a polygon (20, 2)."""
    return _CIRCLE * (radius_x, radius_y) + center


class Mask(NamedTuple):
    """Coverage of the window `rows`, `cols` of the image."""

    rows: slice
    cols: slice
    alpha: Float[np.ndarray, "h w"]


class Canvas:
    """What is seen at each pixel: albedo, emitted light, sunlight, temperature and inverse distance.

    Layers are painted from far to near; every layer paints all planes through one antialiased mask, which is
    why the two modalities and the labels are registered exactly.
    """

    def __init__(self, camera: Camera, rng: np.random.Generator):
        self.camera = camera
        shape = camera.height, camera.width
        self.planes = np.zeros((9, *shape), np.float32)
        self.labels = np.zeros(shape, np.uint8)
        self.instances = np.zeros(shape, np.int32)
        self.painted: list[int] = [0]
        self.classes: list[int] = [-1]
        self.lights: list[tuple[tuple, tuple]] = []  # position in metres, colour times strength
        self._offsets = rng.integers(0, _TILE, (2, 2))

    def instance(self, box_class: int) -> int:
        """Registers one more object that gets a box and returns its number."""
        self.classes.append(box_class)
        self.painted.append(0)
        return len(self.classes) - 1

    def mask(self, shapes: Sequence[np.ndarray], soft: float = 0.0) -> Mask | None:
        """The antialiased union of polygons, blurred by `soft` pixels; None where there is nothing to see."""
        points = np.concatenate(shapes)
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        margin = int(3 * soft) + 1
        x0, y0 = max(int(left) - margin, 0), max(int(top) - margin, 0)
        x1, y1 = (
            min(int(right) + 1 + margin, self.camera.width),
            min(int(bottom) + 1 + margin, self.camera.height),
        )
        if x1 <= x0 or y1 <= y0 or (right - left) * (bottom - top) < _SPECK:
            return None
        fine = 1 if soft else 4 if (x1 - x0) * (y1 - y0) < _LARGE else 2
        image = Image.new("L", ((x1 - x0) * fine, (y1 - y0) * fine))
        draw = ImageDraw.Draw(image)
        for shape in shapes:
            draw.polygon(((shape - (x0, y0)) * fine).ravel().tolist(), fill=255)
        image = image.filter(ImageFilter.GaussianBlur(float(soft))) if soft else image.reduce(fine)
        return Mask(slice(y0, y1), slice(x0, x1), np.asarray(image, np.float32) / 255)

    def noise(self, mask: Mask, slope: float = 1.0, layer: int = 0) -> Float[np.ndarray, "h w"]:
        """Noise of unit variance in the window of a mask; layers 0 and 1 are independent of each other."""
        height, width = mask.alpha.shape
        row, col = (self._offsets[layer] + (mask.rows.start, mask.cols.start)) % _TILE
        if max(height, width) <= _TILE:
            return noise_tile(slope)[row : row + height, col : col + width]
        rows, cols = np.arange(row, row + height) % _TILE, np.arange(col, col + width) % _TILE
        return noise_tile(slope)[np.ix_(rows, cols)]

    def paint(self, mask: Mask, albedo, heat, near, emit=None, sun=0.6, label=0, instance=0) -> None:
        """Lays one material over the planes.

        Args:
          mask: where.
          albedo: 3 numbers or 3 arrays (h, w): linear reflectance in 0..1.
          heat: degrees Celsius as an infrared camera reads them; number or (h, w).
          near: 1 / metres; number or (h, w).
          emit: 3 numbers or arrays: light given off, in units of white paper in the sun; None for none.
          sun: share of direct sunlight that falls on it; number or (h, w).
          label: class, an index of `DENSE_CLASSES`.
          instance: number from `instance()`, 0 for the background.
        """
        window = self.planes[:, mask.rows, mask.cols]
        emit = (0.0, 0.0, 0.0) if emit is None else emit
        layer = np.empty_like(window)
        for plane, value in zip(layer, (*albedo, *emit, sun, heat, near), strict=True):
            plane[...] = value
        layer -= window
        layer *= mask.alpha
        window += layer
        owned = mask.alpha > _OWNED
        np.copyto(self.labels[mask.rows, mask.cols], np.uint8(label), where=owned)
        np.copyto(self.instances[mask.rows, mask.cols], np.int32(instance), where=owned)
        if instance:
            self.painted[instance] += np.count_nonzero(owned)

    def fill(self, shapes, albedo, heat, near, texture=0.08, heat_texture=0.3, **rest) -> None:
        """Paints polygons with independent natural texture in reflectance and in temperature (degrees)."""
        mask = self.mask(shapes)
        if mask is None:
            return
        shade = 1 + texture * self.noise(mask)
        self.paint(
            mask,
            [float(c) * shade for c in albedo],
            heat + heat_texture * self.noise(mask, 1.0, 1),
            near,
            **rest,
        )

    def shade(self, shapes, soft: float, strength: float, cooling: float, occlusion: float = 0.0) -> None:
        """A soft shadow on what is painted so far: less sun, less warmth, and occlusion at contacts."""
        mask = self.mask(shapes, soft)
        if mask is None:
            return
        window = self.planes[:, mask.rows, mask.cols]
        window[SUN] *= 1 - strength * mask.alpha
        window[HEAT] -= cooling * mask.alpha
        window[ALBEDO] *= 1 - occlusion * mask.alpha

    def boxes(self) -> tuple[Float[np.ndarray, "N 4"], np.ndarray]:
        """Boxes (ymin, xmin, ymax, xmax in 0..1) and classes of the objects that are seen well enough."""
        found, classes = [], []
        size = np.array([*self.labels.shape, *self.labels.shape], np.float32)
        for number in range(1, len(self.classes)):
            rows, cols = np.nonzero(self.instances == number)
            if rows.size < max(8, 0.25 * self.painted[number]):
                continue
            found.append((rows.min(), cols.min(), rows.max() + 1, cols.max() + 1) / size)
            classes.append(self.classes[number])
        return np.asarray(found, np.float32).reshape(-1, 4), np.asarray(classes, np.int32)
