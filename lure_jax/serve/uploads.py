"""Uploaded bytes to images and images to bytes, in memory, with nothing decoded before its header was believed."""

import io
from collections.abc import Sequence
from pathlib import PurePosixPath

import cv2
import numpy as np
import python_multipart  # noqa: F401  FastAPI reads forms by it, and does not install it
from fastapi import UploadFile
from PIL import Image

from lure_jax.inference import images
from lure_jax.inference.images import ImageError
from lure_jax.serve.limits import Limits, Refusal, megapixels

_KINDS = "PNG, JPEG, TIFF, WebP, BMP or PGM/PPM"
_PREVIEW_QUALITY = 90
_BGR = {2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}  # channels -> OpenCV's, which has no grey with alpha


def read(upload: UploadFile, modality: str, limits: Limits) -> np.ndarray:
    """An uploaded image as `images.read` gives it.

    Args:
      upload: in memory, from the start.
      modality: "visible" or "infrared".
      limits: of the pixels.

    Raises:
      Refusal: 400 empty, 415 not an image of a known kind, 413 more pixels than allowed, 422 damaged or of values
        without a known range.
    """
    name, data = named(upload, modality), upload.file.read()
    if not data:
        raise Refusal(400, f"{name} is empty (0 bytes).")
    pixels = _pixels(data, name)
    if pixels > limits.pixels:
        raise Refusal(
            413, f"{name} has {megapixels(pixels)}, and this server takes {megapixels(limits.pixels)}; make it smaller."
        )
    try:
        return images.decode(data, modality, name, alpha=True)
    except ImageError as error:
        raise Refusal(422, str(error)) from error


def check_pair(visible: np.ndarray, infrared: np.ndarray, names: Sequence[str]) -> None:
    """Refuses (422) images of two sizes."""
    if visible.shape[:2] != infrared.shape[:2]:
        told = [
            f"{name} is {image.shape[1]}x{image.shape[0]}"
            for name, image in zip(names, (visible, infrared), strict=True)
        ]
        both = f"{told[0]} and {told[1][:1].lower()}{told[1][1:]}"
        raise Refusal(422, f"{both}; the two images of a pair must have one size (lure data align brings them to one).")


def named(upload: UploadFile, modality: str) -> str:
    """How messages call an upload."""
    name = PurePosixPath((upload.filename or "").replace("\\", "/")).name
    return f"The {modality} image {name[:80]!r}" if name else f"The {modality} image"


def stem(upload: UploadFile) -> str:
    """The file's name without folders and suffix, fit for a member of a zip file."""
    name = PurePosixPath((upload.filename or "").replace("\\", "/")).stem
    return "".join(c for c in name if c.isprintable() and c not in '<>:"|?*').strip(" .")[:120]


def png(image: np.ndarray) -> bytes:
    """(H,W), (H,W,3) or with alpha (H,W,2), (H,W,4); uint8 or uint16 as it is, floats in [0,1] with 16 bits."""
    if image.dtype.kind == "f":
        image = np.round(image * 65535).astype(np.uint16)
    if image.ndim == 3:
        image = image[..., _BGR[image.shape[-1]]]
    return cv2.imencode(".png", image)[1].tobytes()


def preview(unit: np.ndarray) -> bytes:
    """A JPEG that any browser shows, of (H,W,1) or (H,W,3) in [0,1]."""
    image = np.round(255 * unit[..., ::-1]).astype(np.uint8)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _PREVIEW_QUALITY])[1].tobytes()


def _pixels(data: bytes, name: str) -> int:
    """What the header declares; nothing is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=images.FORMATS) as image:
            return image.width * image.height
    except Image.UnidentifiedImageError as error:
        raise Refusal(415, f"{name} is not an image of a kind that can be read: {_KINDS}.") from error
    except Image.DecompressionBombError as error:
        raise Refusal(413, f"{name} declares more pixels than any camera has.") from error
    except (OSError, SyntaxError, ValueError, OverflowError) as error:
        raise Refusal(422, f"{name} cannot be read as an image ({type(error).__name__}).") from error
