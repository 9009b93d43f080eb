"""Frames of videos and of folders of images, by time: two cameras' frames matched."""

import pathlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from lure_jax.data import tonemap
from lure_jax.errors import UserError
from lure_jax.inference import images
from lure_jax.inference.buckets import Size


class VideoError(UserError):
    """A video that cannot be read or written; the message is one sentence that names it."""


class Frame(NamedTuple):
    """An upright image and when it was taken, in seconds since the first of its file."""

    seconds: float
    image: np.ndarray


class Footage(NamedTuple):
    """What one camera has recorded.

    Attributes:
      path: video file or folder.
      modality: "visible" or "infrared".
      rate: frames a second.
      size: (height, width) of the upright frames.
      count: number of frames, None if the file does not say.
      fit: gives the tone curve of images of floats.
    """

    path: pathlib.Path
    modality: str
    rate: Fraction
    size: Size
    count: int | None
    fit: tonemap.Fit

    def __iter__(self) -> Iterator[Frame]:
        """The frames from the first on; VideoError or ImageError names a file that cannot be read on."""
        return _folder_frames(self) if self.path.is_dir() else _file_frames(self)


def library() -> Any:
    """PyAV; VideoError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise VideoError("Videos need PyAV: pip install 'lure-jax[video]'.") from error
    return av


def open_footage(path: pathlib.Path, modality: str, fps: float, fit: tonemap.Fit) -> Footage:
    """Looks at a video file, or at a folder of images in the order of their names.

    Args:
      path: of it.
      modality: "visible" or "infrared".
      fps: frames a second of a folder.
      fit: gives the tone curve of images of floats.

    Raises:
      VideoError: it is missing, or no video; or the folder holds no images.
    """
    if not path.exists():
        raise VideoError(f"The {modality} path {path} does not exist.")
    if path.is_dir():
        files = image_files(path)
        if not files:
            raise VideoError(f"{path} holds no image ({', '.join(images.READ)}).")
        return Footage(path, modality, Fraction(fps).limit_denominator(1001), images.size(files[0]), len(files), fit)
    av = library()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError(f"{path} holds no video.")
            stream = container.streams.video[0]
            first = next(container.decode(stream), None)
            if first is None:
                raise VideoError(f"{path} holds no frame.")
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            count = stream.frames or (int(container.duration * rate / av.time_base) if container.duration else None)
            size = _upright(np.empty((first.height, first.width)), first).shape
            return Footage(path, modality, Fraction(rate), size, count, fit)
    except av.FFmpegError as error:
        raise VideoError(f"{path} cannot be read as a video ({error.strerror}).") from error


def image_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The images right in a folder, by name."""
    found = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return [path for path in found if path.suffix.lower() in images.READ and path.is_file()]


def matched(
    visible: Iterable[Frame], infrared: Iterable[Frame], offset: float, tolerance: float
) -> Iterator[tuple[Frame, Frame | None]]:
    """Each visible frame with the infrared frame that is nearest in time.

    Args:
      visible: in the order of time.
      infrared: in the order of time.
      offset: what the infrared clock shows when the visible one shows 0, in seconds.
      tolerance: seconds beyond which a frame is no partner.

    Returns:
      The pairs; None in the place of an infrared frame that is too far away.
    """
    following = iter(infrared)
    here, after = None, next(following, None)
    for frame in visible:
        wanted = frame.seconds + offset
        while after is not None and (here is None or abs(after.seconds - wanted) <= abs(here.seconds - wanted)):
            here, after = after, next(following, None)
        fits = here is not None and abs(here.seconds - wanted) <= tolerance
        yield frame, here if fits else None
        if after is None and here is not None and wanted - here.seconds > tolerance:
            return


def _folder_frames(footage: Footage) -> Iterator[Frame]:
    for number, path in enumerate(image_files(footage.path)):
        image = images.read(path, footage.modality, fit=footage.fit)
        if image.shape[:2] != footage.size:
            raise images.ImageError(
                f"{path} is {image.shape[1]}x{image.shape[0]}, and the images before it are "
                f"{footage.size[1]}x{footage.size[0]}: the frames of a video must have one size."
            )
        yield Frame(float(number / footage.rate), image)


def _file_frames(footage: Footage) -> Iterator[Frame]:
    av = library()
    done, start = 0, None
    try:
        with av.open(str(footage.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                seconds = frame.time if frame.time is not None else float(done / footage.rate)
                start = seconds if start is None else start
                yield Frame(seconds - start, _pixels(frame, footage.modality))
                done += 1
    except av.FFmpegError as error:
        raise VideoError(f"{footage.path} cannot be read on after frame {done} ({error.strerror}).") from error


def _pixels(frame: Any, modality: str) -> np.ndarray:
    """(H,W,3) uint8 of a visible frame; (H,W) uint8, or uint16 if more bits were stored, of an infrared one."""
    deep = modality == "infrared" and frame.format.name.startswith("gray") and frame.format.components[0].bits > 8
    wanted = "rgb24" if modality == "visible" else "gray16le" if deep else "gray"
    # High definition without a label is BT.709 by custom; the library would take it for BT.601.
    unlabelled = frame.colorspace == 2 and not frame.format.is_rgb and frame.height >= 720
    options = {"src_colorspace": "ITU709"} if unlabelled and modality == "visible" else {}
    return np.ascontiguousarray(_upright(frame.to_ndarray(format=wanted, **options), frame))


def _upright(image: np.ndarray, frame: Any) -> np.ndarray:
    """The image turned as a player would show it."""
    return np.rot90(image, round(frame.rotation / 90) % 4)
