"""Image files: reading every usual kind as an array, and writing without ever leaving half a file."""

import io
import os
import pathlib
import uuid

import numpy as np
from PIL import Image, ImageOps

from lure_jax.data import tonemap
from lure_jax.inference import metadata
from lure_jax.inference.arrays import stretch
from lure_jax.metrics.color import luma

READ = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".pgm", ".ppm")
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM")  # Pillow's names of them, whatever the suffix says
WRITTEN = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
_DEEP = (".png", ".tif", ".tiff")  # suffixes whose files hold 16 bits
_ORIENTATION = 0x0112  # the EXIF tag
_GREY = {"1", "L", "LA", "La"}
_NO_IMAGE = (OSError, SyntaxError, ValueError, OverflowError, Image.DecompressionBombError)


class ImageError(ValueError):
    """A file that cannot be used; the message is one sentence that names it."""


def read(path: os.PathLike, modality: str, *, alpha: bool = False, fit: tonemap.Fit = tonemap.percentile) -> np.ndarray:
    """Reads an image upright (EXIF orientation applied); its colours stay as stored, whatever its ICC profile says.

    Args:
      path: PNG, JPEG, TIFF, WebP, BMP, PGM or PPM.
      modality: "visible" or "infrared".
      alpha: keep the alpha channel of a visible image.
      fit: gives the tone curve of infrared files of floats or 32 bits.

    Returns:
      Visible: (H,W) or (H,W,3), uint8 or uint16, or float32 of a float TIFF in [0,1]; with `alpha`, (H,W,2) or (H,W,4)
      if the file has any. Infrared: (H,W), uint8, uint16 as stored, or float32 in [0,1] of float and 32-bit files.

    Raises:
      ImageError: missing, empty, not an image, or with values that are not finite or have no known range.
    """
    path = pathlib.Path(path)
    _check(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({_short(error)}).") from error
    return decode(data, modality, str(path), alpha=alpha, fit=fit)


def decode(
    data: bytes, modality: str, name: str, *, alpha: bool = False, fit: tonemap.Fit = tonemap.percentile
) -> np.ndarray:
    """What `read` gives, of a file's content; `name` stands for it in messages."""
    with _open(io.BytesIO(data), name) as image:
        try:
            image.load()
            if not image.mode.startswith("I") and _sixteen_bits(data):
                values = _read_deep_colour(data, image.getexif().get(_ORIENTATION, 1))
            else:
                values = _values(ImageOps.exif_transpose(image))
        except _NO_IMAGE as error:
            raise ImageError(f"{name} cannot be read as an image ({_short(error)}).") from error
    if values.dtype.kind not in "u":
        return _real_valued(values, modality, name, fit)
    if values.ndim == 3 and values.shape[-1] in (2, 4) and (modality == "infrared" or not alpha):
        values = np.ascontiguousarray(values[..., 0] if values.shape[-1] == 2 else values[..., :3])
    if modality == "infrared" and values.ndim == 3:
        return np.round(luma(values.astype(np.float32))).astype(values.dtype)
    return values


def size(path: os.PathLike) -> tuple[int, int]:
    """(height, width) of the upright image, from the file's header alone; ImageError as in `read`."""
    path = pathlib.Path(path)
    _check(path)
    with _open(path, str(path)) as image:
        width, height = image.size
        # Pillow decodes a whole PNG to look for EXIF behind the pixels; we take what stands before them.
        header_tells = image.format != "PNG" or "exif" in image.info
        try:
            turned = header_tells and image.getexif().get(_ORIENTATION, 1) in range(5, 9)
        except _NO_IMAGE as error:
            raise ImageError(f"{path} cannot be read as an image ({_short(error)}).") from error
    return (width, height) if turned else (height, width)


def described(path: os.PathLike) -> metadata.Metadata:
    """The EXIF tags and the ICC profile of an image file; ImageError as in `read`."""
    path = pathlib.Path(path)
    _check(path)
    with _open(path, str(path)) as image:
        try:
            image.load()  # a PNG's may stand behind the pixels
            return metadata.of(image)
        except _NO_IMAGE as error:
            raise ImageError(f"{path} cannot be read as an image ({_short(error)}).") from error


def write(path: os.PathLike, image: np.ndarray, described: metadata.Metadata = metadata.NONE) -> None:
    """Writes an image under a temporary name and renames it; folders are made as needed.

    Args:
      path: its suffix says the format: one of `WRITTEN`.
      image: (H,W), (H,W,3), or with alpha (H,W,2), (H,W,4), which JPEG leaves out; uint8, or uint16 or float in [0,1],
        which PNG and TIFF store with 16 bits and the other formats with 8.
      described: what to store beside the pixels.

    Raises:
      ImageError: the file cannot be written there.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if image.dtype.kind == "f":
        image = np.round(image * 65535).astype(np.uint16)
    if image.dtype == np.uint16 and suffix not in _DEEP:
        image = np.round(image / 257).astype(np.uint8)
    if suffix in (".jpg", ".jpeg") and image.ndim == 3 and image.shape[-1] in (2, 4):
        image = image[..., 0] if image.shape[-1] == 2 else image[..., :3]
    draft = path.parent / f".{path.stem}-{uuid.uuid4().hex[:8]}{suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if image.dtype == np.uint16 and image.ndim == 3:
            _write_deep_colour(draft, image, described)
        else:
            options = {"quality": 95} if suffix in (".jpg", ".jpeg", ".webp") else {}
            Image.fromarray(np.ascontiguousarray(image)).save(draft, **options, **described.for_saving(image))
        draft.replace(path)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be written ({_short(error)}).") from error
    finally:
        if draft.exists():
            draft.unlink()


def _check(path: pathlib.Path) -> None:
    if not path.exists():
        raise ImageError(f"{path} does not exist.")
    if path.is_dir():
        raise ImageError(f"{path} is a folder, and an image file is needed.")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes).")


def _open(file: pathlib.Path | io.BytesIO, name: str) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image of a kind that can be read.") from error
    except _NO_IMAGE as error:
        raise ImageError(f"{name} cannot be read as an image ({_short(error)}).") from error


def _sixteen_bits(data: bytes) -> bool:
    """Whether the file has 16 bits a channel, by Pillow's decoder arguments (loading an image discards its own)."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        raw_modes = (tile[3] if isinstance(tile[3], str) else next(iter(tile[3] or ()), "") for tile in image.tile)
        return any(";16" in str(mode) for mode in raw_modes)


def _values(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        return np.asarray(image)
    alpha = "A" if image.has_transparency_data else ""
    return np.asarray(image.convert(("L" if image.mode in _GREY else "RGB") + alpha))


def _real_valued(values: np.ndarray, modality: str, name: str, fit: tonemap.Fit) -> np.ndarray:
    """Floats and 32-bit integers, whose range the file does not say."""
    if not np.isfinite(values).all():
        raise ImageError(f"{name} holds values that are not finite numbers (NaN or infinity).")
    if modality == "infrared":
        return stretch(values, fit)
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "i" and low >= 0 and high <= 65535:
        return values.astype(np.uint16)
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return values.astype(np.float32)
    raise ImageError(
        f"{name} has values from {low:g} to {high:g}, and a visible image needs 8 or 16 bits or floats in [0, 1]."
    )


def _read_deep_colour(data: bytes, orientation: int) -> np.ndarray:
    """Colour with 16 bits a channel, of which Pillow keeps only 8."""
    import cv2

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        raise OSError("16-bit colour of an unknown kind")
    if values.ndim == 3:
        values = values[..., [2, 1, 0, 3][: values.shape[-1]]]
    turns = {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}.get(orientation, 0)
    values = np.rot90(values, turns)
    mirrored = {2: 1, 4: 1, 5: 1, 7: 1}.get(orientation)
    return np.ascontiguousarray(values if mirrored is None else np.flip(values, mirrored))


def _write_deep_colour(path: pathlib.Path, image: np.ndarray, described: metadata.Metadata) -> None:
    """The same for writing: Pillow has no 16-bit colour."""
    if image.shape[-1] == 2:  # neither has 16-bit grey with alpha
        image = image[..., [0, 0, 0, 1]]
    if path.suffix.lower() == ".png":
        path.write_bytes(metadata.deep_png(image, described))
    else:
        with path.open("wb") as file:
            metadata.write_deep_tiff(file, image, described)


def _short(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
