"""Image files to the bytes a data set stores: the original where it decodes as wanted, else lossless PNG."""

import io
from typing import NamedTuple

import numpy as np
from etils import epath
from PIL import Image, ImageOps, UnidentifiedImageError

from lure_jax.data import tonemap
from tfds_builders.files import DataError

# What every reader (Pillow, OpenCV) decodes alike; anything else is re-encoded.
_KEPT_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_KEPT_MODES = {"colour": ("L", "RGB"), "grey": ("L",), "labels": ("L",)}
_EXIF_ORIENTATION = 0x0112


class Stored(NamedTuple):
    """An image to store: encoded bytes, (width, height), and the curve to 8 bits of a file that had more."""

    data: bytes
    size: tuple[int, int]
    tone: tonemap.ToneMap | None = None

    @property
    def kept_tone(self) -> str:
        """The curve as JSON, "" where the file had 8 bits."""
        return self.tone.to_json() if self.tone else ""


def stored_image(
    path: epath.Path, kind: str, tone: str | tonemap.ToneMap = "percentile", channels: tuple[int, ...] = ()
) -> Stored:
    """Checks an image file by decoding it once and returns what to store of it.

    Args:
      path: image file.
      kind: "colour" (3 channels; grey files stay grey and are repeated on reading), "grey" (1 channel, BT.601 luma of
        colour files) or "labels" (1 channel of class numbers; of a palette image the indices).
      tone: how values of more than 8 bits become 8, as `tonemap.fit` takes it. (Readers without TensorFlow and OpenCV
        decode 8 bits only.)
      channels: which channels of the file to take, three or one; default all.

    Raises:
      DataError: missing, unreadable, no image, or not fit for the kind; it names the file.
    """
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            keep = not channels and _decodes_alike(image) and image.mode in _KEPT_MODES[kind]
            image.load()
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is {'no image' if data else 'empty'}.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable image: {error}.") from error
    if keep:
        return Stored(data, image.size)
    upright, curve = ImageOps.exif_transpose(image), None
    if channels:
        upright = _chosen(upright, channels, path)
    if kind == "labels":
        converted = _class_numbers(upright, path)
    elif upright.mode.startswith("I") or upright.mode == "F":
        values = np.asarray(upright, np.float32)
        if not np.isfinite(values).all():
            raise DataError(f"{path} holds values that are not finite numbers.")
        curve = tonemap.fit(tone)(values)
        converted = Image.fromarray(np.round(255 * curve(values)).astype(np.uint8))
    else:
        converted = upright.convert("L" if kind == "grey" else "RGB")
    buffer = io.BytesIO()
    converted.save(buffer, format="PNG")
    return Stored(buffer.getvalue(), converted.size, curve)


def require_same_size(path: epath.Path, image: Stored, other_path: epath.Path, other: Stored) -> None:
    """Raises a DataError with both sizes unless the two images have one."""
    if image.size != other.size:
        sizes = ("{}x{}".format(*image.size), "{}x{}".format(*other.size))
        raise DataError(f"{path} is {sizes[0]}, but {other_path} is {sizes[1]}.")


def _decodes_alike(image: Image.Image) -> bool:
    """False where readers that ignore EXIF, transparency or all but 8 bits would show another picture."""
    if image.format not in _KEPT_FORMATS or "transparency" in image.info:
        return False
    return image.getexif().get(_EXIF_ORIENTATION, 1) == 1 and not any("16" in str(tile[3]) for tile in image.tile)


def _chosen(image: Image.Image, channels: tuple[int, ...], path: epath.Path) -> Image.Image:
    bands = image.split()
    if len(bands) <= max(channels):
        raise DataError(f"{path} has {len(bands)} channels, but channel {max(channels) + 1} is wanted of it.")
    chosen = [bands[index] for index in channels]
    return chosen[0] if len(chosen) == 1 else Image.merge("RGB", chosen)


def _class_numbers(image: Image.Image, path: epath.Path) -> Image.Image:
    values = np.asarray(image)
    if values.ndim != 2 or values.dtype.kind not in "uib" or values.min() < 0 or values.max() > 255:
        raise DataError(f"{path} is no label map, which has one channel of class numbers 0..255.")
    return Image.fromarray(values.astype(np.uint8))
