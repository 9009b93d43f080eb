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
      image: (H,W), (H,W,C) or a batch (B,H,W,C); uint8, uint16, or floats in [0,1]. One channel is grey, three are
        RGB, two and four have an alpha channel, which the network does not see. Grey visible images are repeated to
        RGB, infrared ones stored as RGB reduced to luma. A uint16 infrared image is tone mapped: cameras put 14 bits,
        often a narrow band of them, into a 16-bit file. A uint16 visible image is divided by 65535.
      modality: "visible" or "infrared", also for messages.
      fit: gives the curve of each uint16 infrared image (`tonemap.fit`).

    Returns:
      The image, and the form its result should have.

    Raises:
      ValueError: another type, shape or range, or values that are not finite.
    """
    image = np.asarray(image)
    size_of(image, modality)
    form = Form(image.shape, image.dtype)
    colours = image if image.ndim == 2 else image[..., : _without_alpha(image.shape[-1])]
    unit = _scaled(colours, modality)
    unit = unit[..., None] if image.ndim == 2 else unit
    unit = unit[None] if image.ndim < 4 else unit
    if modality == "infrared":
        unit = np.asarray(luma(unit))[..., None] if unit.shape[-1] == 3 else unit
        if image.dtype == np.uint16:
            unit = np.stack([_toned(one, fit) for one in unit])
    return np.ascontiguousarray(np.broadcast_to(unit, (*unit.shape[:3], 3 if modality == "visible" else 1))), form


def from_unit(image: Float[np.ndarray, "B H W 3"], form: Form, alpha: np.ndarray | None = None) -> np.ndarray:
    """The network's result in the form of the image that was given; grey forms get its BT.601 luma.

    Args:
      image: the result.
      form: of the image given.
      alpha: its alpha channel (..., 1), if it has one.
    """
    channels = 1 if len(form.shape) == 2 else _without_alpha(form.shape[-1])
    if channels == 1:
        image = np.asarray(luma(image))[..., None]
    image = image.reshape(*form.shape[:-1], channels) if len(form.shape) > 2 else image.reshape(form.shape)
    if form.dtype.kind == "u":
        image = np.round(image * np.iinfo(form.dtype).max)
    image = image.astype(form.dtype)
    return image if alpha is None else np.concatenate([image, alpha], -1)


def alpha_of(image: np.ndarray) -> np.ndarray | None:
    """The alpha channel (..., 1) of an image of two or four channels."""
    return image[..., -1:] if image.ndim > 2 and image.shape[-1] in (2, 4) else None


def size_of(image: np.ndarray, modality: str) -> tuple[int, int, int]:
    """Number, height and width of an image or a batch; ValueError for a shape that is none."""
    if image.ndim not in (2, 3, 4) or image.ndim > 2 and image.shape[-1] not in (1, 2, 3, 4):
        raise ValueError(
            f"The {modality} image has shape {image.shape}; (H,W), (H,W,1), (H,W,3) or a batch (B,H,W,C) is needed, "
            "with one more channel if there is an alpha channel."
        )
    if 0 in image.shape:
        raise ValueError(f"The {modality} image is empty: its shape is {image.shape}.")
    return (image.shape[0], *image.shape[1:3]) if image.ndim == 4 else (1, *image.shape[:2])


def settled(image: np.ndarray, modality: str, fit: tonemap.Fit) -> tonemap.Fit:
    """The fit that gives every part of an image the curve of the whole."""
    if modality != "infrared" or image.dtype != np.uint16 or image.min() == image.max():
        return fit
    colours = image if image.ndim == 2 else image[..., : _without_alpha(image.shape[-1])]
    curve = fit(luma(colours.astype(np.float32)) if colours.shape[-1] == 3 and image.ndim > 2 else colours)
    return lambda part: curve


def stretch(values: np.ndarray, fit: tonemap.Fit = tonemap.percentile) -> Float[np.ndarray, "..."]:
    """Tone maps an image; by default between its 0.1 and 99.9 percentiles, as the data sets' builders do.

    Args:
      values: finite; one image.
      fit: gives the curve (`tonemap.fit`).

    Returns:
      float32 in [0,1]; between percentiles a flat image keeps its value if that lies in [0,1].
    """
    if fit is tonemap.percentile and values.min() == values.max():
        return np.clip(values, 0, 1).astype(np.float32)
    return fit(values)(values)


def _without_alpha(channels: int) -> int:
    return 1 if channels < 3 else 3


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
