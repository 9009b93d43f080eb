"""Samples for the networks that judge fused images: crops of an image with its labels or boxes."""

import dataclasses

import grain
import numpy as np
from jaxtyping import Float, Int

from lure_jax.models.segmentation import STRIDE

UNKNOWN = 255  # a pixel without label
SMALLEST = 4.0  # pixels; what is left of a box at the edge of a crop, and smaller, is no box


@dataclasses.dataclass(frozen=True)
class JudgedSample(grain.transforms.RandomMap):
    """A fused image to a random crop of it, mirrored half of the time.

    Attributes:
      crop: pixels a side, a multiple of 4.
      classes: of the boxes.
    """

    crop: int
    classes: int

    def random_map(self, element: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """image (H,W,3) uint8 and labels (H,W) or boxes (N,4) in pixels with box_labels (N,); float32 image out."""
        height, width = element["image"].shape[:2]
        top, left = (int(rng.integers(0, max(side - self.crop, 0) + 1)) for side in (height, width))
        flip = rng.random() < 0.5
        image = _window(element["image"], top, left, self.crop, flip, mode="symmetric")
        sample = {"image": image.astype(np.float32) / 255}
        if "labels" in element:
            labels = _window(element["labels"], top, left, self.crop, flip, constant_values=UNKNOWN)
            sample["labels"] = at_stride(labels.astype(np.int32))
        if "boxes" in element:
            boxes = element["boxes"] - np.array([top, left, top, left], np.float32)
            if flip:
                boxes = np.stack([boxes[:, 0], self.crop - boxes[:, 3], boxes[:, 2], self.crop - boxes[:, 1]], 1)
            sample |= centre_targets(boxes, element["box_labels"], self.crop, self.classes)
        return sample


def _window(image: np.ndarray, top: int, left: int, crop: int, flip: bool, **pad) -> np.ndarray:
    image = image[top : top + crop, left : left + crop]
    missing = [(0, crop - side) for side in image.shape[:2]] + [(0, 0)] * (image.ndim - 2)
    image = np.pad(image, missing, **pad)
    return np.ascontiguousarray(image[:, ::-1] if flip else image)


def at_stride(labels: Int[np.ndarray, "*B H W"]) -> Int[np.ndarray, "*B h w"]:
    """The label in the middle of what a logit sees."""
    missing = [(0, 0)] * (labels.ndim - 2) + [(0, -side % STRIDE) for side in labels.shape[-2:]]
    return np.pad(labels, missing, mode="edge")[..., STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]


def centre_targets(
    boxes: Float[np.ndarray, "N 4"], labels: Int[np.ndarray, "N"], crop: int, classes: int
) -> dict[str, np.ndarray]:
    """What CenterNet is to say of a crop, at stride 4.

    A box counts if its centre lies in the crop; it is cut at the crop's edges. Around a centre the heat falls off as a
    Gaussian with a sixth of the box's sides as standard deviations (at least half a cell); where boxes overlap, the
    higher value stands.

    Args:
      boxes: ymin, xmin, ymax, xmax in pixels of the crop.
      labels: classes.
      crop: pixels a side.
      classes: K.
    """
    cells = crop // STRIDE
    heat = np.zeros((cells, cells, classes), np.float32)
    log_size, offset = (np.zeros((cells, cells, 2), np.float32) for _ in range(2))
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middle >= 0) & (middle < crop)).all(1)
    for box, label in zip(np.clip(boxes[inside], 0, crop), labels[inside], strict=True):
        size = box[2:] - box[:2]
        if min(size) < SMALLEST:
            continue
        centre = (box[:2] + box[2:]) / 2 / STRIDE
        row, column = np.minimum(centre.astype(int), cells - 1)
        sd = np.maximum(size / STRIDE / 6, 0.5)
        fall = [np.exp(-((np.arange(cells) - at) ** 2) / (2 * s**2)) for at, s in zip((row, column), sd, strict=True)]
        heat[..., label] = np.maximum(heat[..., label], np.outer(*fall))
        log_size[row, column], offset[row, column] = np.log(size), centre - (row, column)
    return {"heat": heat, "log_size": log_size, "offset": offset}
