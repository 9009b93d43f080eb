"""What image files hold beside the pixels, EXIF tags and ICC profile, and how 16-bit colour is stored with them."""

import io
import zlib
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

_BASE, _EXIF = ExifTags.Base, ExifTags.IFD.Exif
# A TIFF file mixes what describes the picture with what describes the file: the first alone is kept.
_KEPT = (
    _BASE.ImageDescription, _BASE.Make, _BASE.Model, _BASE.XResolution, _BASE.YResolution, _BASE.ResolutionUnit,
    _BASE.Software, _BASE.DateTime, _BASE.Artist, _BASE.HostComputer, _BASE.Copyright,
)  # fmt: skip
_OF_OLD_PIXELS = (_BASE.ExifImageWidth, _BASE.ExifImageHeight)
_LIMIT = 65_000  # bytes of EXIF that fit into a JPEG file


class Metadata(NamedTuple):
    """Of a picture that already stands upright: EXIF without orientation and sizes, and the ICC profile; b"" = none."""

    exif: bytes
    icc: bytes

    def for_saving(self, image: np.ndarray) -> dict[str, bytes]:
        """Options of Pillow's `save` for an image of that shape."""
        options = {"exif": self.exif, "icc_profile": self.profile_for(image)}
        return {name: value for name, value in options.items() if value}

    def profile_for(self, image: np.ndarray) -> bytes:
        """The profile, if it is one for the image's colours: that of a CMYK file means nothing for RGB."""
        grey = image.ndim == 2 or image.shape[-1] < 3
        return self.icc if self.icc[16:20] == (b"GRAY" if grey else b"RGB ") else b""


NONE = Metadata(b"", b"")


def of(image: Image.Image) -> Metadata:
    """The metadata of an open image file, whose pixels were loaded."""
    found, kept = image.getexif(), Image.Exif()
    for tag in _KEPT:
        if tag in found:
            kept[tag] = found[tag]
    for ifd in (_EXIF, ExifTags.IFD.GPSInfo):
        if tags := {tag: value for tag, value in found.get_ifd(ifd).items() if tag not in _OF_OLD_PIXELS}:
            kept.get_ifd(ifd).update(tags)
    exif = kept.tobytes() if len(kept) or kept.get_ifd(_EXIF) or kept.get_ifd(ExifTags.IFD.GPSInfo) else b""
    if len(exif) > _LIMIT:  # a camera's own notes, whose offsets no longer hold anyway
        kept.get_ifd(_EXIF).pop(_BASE.MakerNote, None)
        exif = kept.tobytes()
    return Metadata(exif if len(exif) <= _LIMIT else b"", image.info.get("icc_profile") or b"")


def deep_png(image: np.ndarray, described: Metadata) -> bytes:
    """A PNG file of 16-bit colour (H,W,3) or (H,W,4), which Pillow cannot write."""
    import cv2

    order = [2, 1, 0, 3][: image.shape[-1]]
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(image[..., order]))
    if not done:
        raise OSError("16-bit colour could not be stored")
    encoded, chunks = encoded.tobytes(), io.BytesIO()
    if profile := described.profile_for(image):
        PngImagePlugin.putchunk(chunks, b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))
    if described.exif:
        PngImagePlugin.putchunk(chunks, b"eXIf", described.exif.removeprefix(b"Exif\0\0"))
    header = 8 + 25  # the signature and the chunk IHDR
    return encoded[:header] + chunks.getvalue() + encoded[header:]


def write_deep_tiff(file: BinaryIO, image: np.ndarray, described: Metadata) -> None:
    """Writes a TIFF file of 16-bit colour (H,W,3) or (H,W,4), which Pillow cannot; deflated, in one strip."""
    height, width, channels = image.shape
    pixels = zlib.compress(image.astype("<u2").tobytes())
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    exif = Image.Exif()
    exif.load(described.exif)
    tags: dict[int, Any] = dict(exif) | {ifd: dict(exif.get_ifd(ifd)) for ifd in (_EXIF, ExifTags.IFD.GPSInfo)}
    tags |= {
        _BASE.ImageWidth: width, _BASE.ImageLength: height, _BASE.BitsPerSample: (16,) * channels,
        _BASE.Compression: 8, _BASE.PhotometricInterpretation: 2, _BASE.SamplesPerPixel: channels,
        _BASE.PlanarConfiguration: 1, _BASE.RowsPerStrip: height, _BASE.StripByteCounts: len(pixels),
        _BASE.StripOffsets: 0,  # from the end of the directory; Pillow adds where that is
        _BASE.InterColorProfile: described.profile_for(image),
        TiffImagePlugin.EXTRASAMPLES: 2 if channels == 4 else None,  # alpha that the colours are not multiplied with
    }  # fmt: skip
    for tag, value in tags.items():
        if value:
            directory[tag] = value
        elif tag == _BASE.StripOffsets:
            directory[tag] = 0
    directory.save(file)
    file.write(pixels)
