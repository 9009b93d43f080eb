"""Images as users hold them (grey or RGB, integer or float, one or many) to the network's form and back."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lure_jax.data import tonemap
from lure_jax.metrics.color import luma


class Form(NamedTuple):
    """What has to come back: the shape and dtype of the image that was given."""

    shape: tuple[int, ...]
    dtype: np.dtype


def to_unit(
    image: np.ndarray, modality: str, fit: tonemap.Fit = tonemap.percentile
) -> tuple[Float[np.ndarray, "B H W C"], Form]:
    """Checks an image and brings it into [0,1] float32: (B,H,W,3) visible, (B,H,W,1) infrared.

    Args:
      image: (H,W), (H,W,1), (H,W,3) or a batch (B,H,W,1), (B,H,W,3); uint8, uint16, or floats in [0,1]. Grey visible
        images are repeated to RGB, infrared ones stored as RGB reduced to luma. A uint16 infrared image is tone
        mapped: cameras put 14 bits, often a narrow band of them, into a 16-bit file. A uint16 visible image is divided
        by 65535.
      modality: "visible" or "infrared", also for messages.
      fit: gives the curve of each uint16 infrared image (`tonemap.fit`).

    Returns:
      The image, and the form its result should have.

    Raises:
      ValueError: another type, shape or range, or values that are not finite.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3, 4) or image.ndim > 2 and image.shape[-1] not in (1, 3):
        raise ValueError(
            f"The {modality} image has shape {image.shape}; (H,W), (H,W,1), (H,W,3) or a batch (B,H,W,C) is needed."
        )
    if 0 in image.shape:
        raise ValueError(f"The {modality} image is empty: its shape is {image.shape}.")
    form = Form(image.shape, image.dtype)
    unit = _scaled(image, modality)
    unit = unit[..., None] if image.ndim == 2 else unit
    unit = unit[None] if image.ndim < 4 else unit
    if modality == "infrared":
        unit = np.asarray(luma(unit))[..., None] if unit.shape[-1] == 3 else unit
        if image.dtype == np.uint16:
            unit = np.stack([_toned(one, fit) for one in unit])
    return np.ascontiguousarray(np.broadcast_to(unit, (*unit.shape[:3], 3 if modality == "visible" else 1))), form


def from_unit(image: Float[np.ndarray, "B H W 3"], form: Form) -> np.ndarray:
    """The network's result in the form of the image that was given; grey forms get its BT.601 luma."""
    if len(form.shape) == 2 or form.shape[-1] == 1:
        image = np.asarray(luma(image))[..., None]
    image = image.reshape(form.shape)
    if form.dtype.kind == "u":
        image = np.round(image * np.iinfo(form.dtype).max)
    return image.astype(form.dtype)


def stretch(values: np.ndarray) -> Float[np.ndarray, "..."]:
    """Maps the 0.1 and 99.9 percentiles to 0 and 1 and clips, as the data sets' builders do with thermal frames.

    Args:
      values: finite; one image.

    Returns:
      float32 in [0,1]; a flat image keeps its value if that lies in [0,1].
    """
    if values.min() == values.max():
        return np.clip(values, 0, 1).astype(np.float32)
    return tonemap.percentile(values)(values).astype(np.float32)


def _toned(values: Float[np.ndarray, "H W 1"], fit: tonemap.Fit) -> Float[np.ndarray, "H W 1"]:
    """uint16 values as stored by the curve that is fitted to them; between percentiles a flat image keeps its value."""
    flat = fit is tonemap.percentile and values.min() == values.max()
    return values / np.float32(65535) if flat else fit(values)(values)


def _scaled(image: np.ndarray, modality: str) -> Float[np.ndarray, "..."]:
    if image.dtype == np.uint16 and modality == "infrared":
        return image.astype(np.float32)
    if image.dtype in (np.uint8, np.uint16):
        return image.astype(np.float32) / np.iinfo(image.dtype).max
    if image.dtype.kind != "f":
        raise ValueError(f"The {modality} image is {image.dtype}; uint8, uint16 or floats in [0, 1] are needed.")
    if not np.isfinite(image).all():
        raise ValueError(f"The {modality} image holds values that are not finite numbers.")
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        raise ValueError(f"The {modality} image has values from {low:g} to {high:g}; floats must lie in [0, 1].")
    return image.astype(np.float32)
