"""Videos fused or restored frame by frame without flicker; whatever happens, what was written plays."""

import itertools
import os
import pathlib
import signal
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import tqdm

from lure_jax.data import tonemap
from lure_jax.data.own_pairs import Misaligned
from lure_jax.inference import alignment
from lure_jax.inference.frames import Footage, Frame, VideoError, library, matched, open_footage
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.stability import AVERAGED, Steady

CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
_OPTIONS = {"libx264": {"crf": "18", "preset": "fast"}, "libvpx-vp9": {"crf": "24", "b": "0", "cpu-used": "4"}}
_TICKS = Fraction(1, 90000)  # of the output's clock, in seconds
_TRIED = (50, 10)  # frames from the start, every so many, that an alignment is looked for in
_BT709, _LIMITED = 1, 1  # numbers of the H.264 standard


class Summary(NamedTuple):
    """What came of a video: frames written, frames without partner, and the signal that ended it early or ""."""

    written: int
    unmatched: int
    stopped: str


def fuse_video(
    visible: os.PathLike,
    infrared: os.PathLike,
    output: os.PathLike,
    *,
    prompt: str = "auto",
    model: str = "lure_tiny",
    tone: str = "percentile",
    memory: str | None = None,
    align: bool = False,
    offset: float = 0.0,
    fps: float = 25.0,
    average: int = AVERAGED,
    overwrite: bool = False,
    tell: Callable[[str], None] = print,
) -> Summary:
    """Fuses two videos, or two folders of frames, to a video with the visible one's frames, times and sound.

    Args:
      visible: video file, or folder of images in the order of their names.
      infrared: the same kind.
      output: .mp4, .mov, .mkv (H.264) or .webm (VP9).
      prompt: "auto" or a sentence about both.
      model: name or folder.
      tone: of radiometric infrared frames, as the Fuser takes it.
      memory: of the process, as the Fuser takes it.
      align: register the infrared camera to the visible one, once for all frames; the result is what both show.
      offset: what the infrared clock shows when the visible one shows 0, in seconds.
      fps: frames a second of folders.
      average: frames that a still pixel is the mean of; 1 for none.
      overwrite: replace a result that exists.
      tell: called with warnings.

    Returns:
      What was written. SIGINT and SIGTERM end the video after the frame at work; it is closed and keeps its frames.

    Raises:
      ValueError: one sentence; nothing was written (VideoError, WeightsError and the like), or, if an input cannot be
        read on, the frames until there, as the sentence says.
    """
    output = _checked_output(output, (visible, infrared), overwrite)
    named = {"visible": pathlib.Path(visible), "infrared": pathlib.Path(infrared)}
    both = [open_footage(path, modality, fps, tonemap.fit(tone)) for modality, path in named.items()]
    if both[0].path.is_dir() != both[1].path.is_dir():
        raise VideoError(f"{both[0].path} and {both[1].path} are a folder and a file; give two videos or two folders.")
    if both[0].size != both[1].size and not align:
        told = " and ".join(f"{f.path} is {f.size[1]}x{f.size[0]}" for f in both)
        raise VideoError(f"{told}; a pair must have one size and lie on each other: give --align.")
    tolerance = float(1 / both[1].rate)

    def pairs() -> Iterator[tuple[Frame, Frame | None]]:
        return matched(*both, offset, tolerance)

    fuser = Fuser.load(model, tone=tone, memory=memory)
    steady = Steady(fuser, fuser.read_prompt_aloud(prompt, tell), average)
    aligned = _find_alignment(both, pairs()) if align else None

    def fuse(pair: tuple[Frame, Frame | None]) -> Frame | None:
        if pair[1] is None:
            return None
        frames = [frame.image for frame in pair]
        frames = aligned(*frames) if aligned else frames
        return Frame(pair[0].seconds, steady(dict(zip(("visible", "infrared"), frames, strict=True))))

    summary = _write(output, both[0], map(fuse, pairs()), tell)
    if not summary.written and not summary.stopped:
        raise VideoError(f"No frame of {both[0].path} has a partner in {both[1].path} at --offset {offset:g}.")
    if summary.unmatched:
        tell(f"{summary.unmatched} frames of {both[0].path} have no partner in {both[1].path} and were left out.")
    return summary


def restore_video(
    source: os.PathLike,
    output: os.PathLike,
    *,
    modality: str,
    prompt: str = "auto",
    model: str = "lure_tiny",
    tone: str = "percentile",
    memory: str | None = None,
    fps: float = 25.0,
    average: int = AVERAGED,
    overwrite: bool = False,
    tell: Callable[[str], None] = print,
) -> Summary:
    """Restores a video, or a folder of frames, of one modality; the rest as in `fuse_video`."""
    output = _checked_output(output, (source,), overwrite)
    footage = open_footage(pathlib.Path(source), modality, fps, tonemap.fit(tone))
    fuser = Fuser.load(model, tone=tone, memory=memory)
    fuser.check_restores()
    steady = Steady(fuser, fuser.read_prompt_aloud({modality: prompt}, tell), average)
    results = (Frame(frame.seconds, steady({modality: frame.image})) for frame in footage)
    return _write(output, footage, results, tell)


class _Stop:
    """Remembers the first SIGINT or SIGTERM while it is entered; the second acts as usual."""

    def __enter__(self) -> "_Stop":
        self.reason, self._previous = "", {}
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._remember) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: object) -> None:
        self.reason = signal.Signals(number).name
        self.__exit__()


def _write(
    output: pathlib.Path, footage: Footage, results: Iterable[Frame | None], tell: Callable[[str], None]
) -> Summary:
    """Encodes the results under a temporary name, which becomes the output once the file is closed."""
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.parent / f".{output.stem}-{uuid.uuid4().hex[:8]}{output.suffix}"
    unmatched, trouble, writer = 0, None, None
    progress = tqdm.tqdm(total=footage.count, unit="frame", disable=None)
    try:
        with _Stop() as stop, progress:
            try:
                for result in results:
                    if result is None:
                        unmatched += 1
                    else:
                        writer = writer or _Writer(draft, footage, result, tell)
                        writer.add(result)
                    progress.update()
                    if stop.reason:
                        break
            except ValueError as error:
                trouble = error
            if writer:
                writer.close()
        if writer:
            draft.replace(output)
    except library().FFmpegError as error:
        raise VideoError(f"{output} cannot be written ({error.strerror}).") from error
    finally:
        draft.unlink(missing_ok=True)
    written = writer.written if writer else 0
    if trouble:
        kept = f" {output} holds the {written} frames until there." if written else ""
        raise VideoError(f"{trouble}{kept}") from trouble
    return Summary(written, unmatched, stop.reason)


class _Writer:
    """A video file that takes frames with their times, and the sound that goes with them."""

    def __init__(self, path: pathlib.Path, footage: Footage, first: Frame, tell: Callable[[str], None]):
        av, height, width = library(), *first.image.shape[:2]
        self.written, self._origin = 0, first.seconds
        self._container = av.open(str(path), "w")
        codec = CODECS[path.suffix.lower()]
        self._stream = self._container.add_stream(codec, rate=footage.rate, options=_OPTIONS[codec])
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = _TICKS
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        if width % 2 or height % 2:
            tell(f"Frames of {width}x{height} are stored with a last row or column repeated: their sides must be even.")
        self._sound = _Sound(self._container, footage.path, self._origin, tell)

    def add(self, result: Frame) -> None:
        image = np.atleast_3d(result.image)
        image = np.broadcast_to(image, (*image.shape[:2], 3)) if image.shape[-1] == 1 else image
        image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
        if image.dtype != np.uint8:
            image = np.round(image / (np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1) * 255)
        frame = library().VideoFrame.from_ndarray(np.ascontiguousarray(image, np.uint8), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts, frame.time_base = round((result.seconds - self._origin) / _TICKS), _TICKS
        self._container.mux(self._stream.encode(frame))
        self._sound.copy(until=result.seconds)
        self._end = result.seconds + float(1 / self._stream.average_rate)
        self.written += 1

    def close(self) -> None:
        self._sound.copy(until=self._end)
        self._container.mux(self._stream.encode())
        self._container.close()
        self._sound.close()


class _Sound:
    """Copies the first audio track of a video, packet by packet, as far as the frames are."""

    def __init__(self, output: Any, path: pathlib.Path, origin: float, tell: Callable[[str], None]):
        self._input = self._packets = None
        if path.is_dir():
            return
        self._input = library().open(str(path))
        if not self._input.streams.audio:
            return
        self._output, track = output, self._input.streams.audio[0]
        if track.codec_context.name not in output.supported_codecs:
            tell(f"The sound of {path} ({track.codec_context.name}) does not fit into the output and is left out.")
            return
        self._stream = output.add_stream_from_template(track)
        video = self._input.streams.video[0]
        first = float((video.start_time or 0) * video.time_base)
        self._start = first + origin
        self._packets = (packet for packet in self._input.demux(track) if packet.pts is not None)
        self._next = next(self._packets, None)
        self._first = first

    def copy(self, until: float) -> None:
        """Up to that second of the visible video."""
        while self._packets is not None and self._next is not None:
            packet = self._next
            if float(packet.pts * packet.time_base) > self._first + until:
                return
            ticks = round(self._start / packet.time_base)
            if packet.pts + (packet.duration or 0) >= ticks:  # an encoder's priming lies before the first frame
                packet.pts -= ticks
                packet.dts = packet.dts - ticks if packet.dts is not None else packet.pts
                packet.stream = self._stream
                self._output.mux(packet)
            self._next = next(self._packets, None)

    def close(self) -> None:
        if self._input:
            self._input.close()


def _find_alignment(both: list[Footage], pairs: Iterable[tuple[Frame, Frame | None]]) -> alignment.Alignment:
    for visible, infrared in itertools.islice((pair for pair in pairs if pair[1]), 0, *_TRIED):
        try:
            return alignment.align(visible.image, infrared.image)
        except Misaligned as error:
            reason = error
    raise VideoError(f"{both[0].path} with {both[1].path} could not be aligned: {reason}") from reason


def _checked_output(output: os.PathLike, sources: Iterable[os.PathLike], overwrite: bool) -> pathlib.Path:
    output = pathlib.Path(output)
    if output.suffix.lower() not in CODECS:
        raise VideoError(f"The output {output} must end in one of {', '.join(CODECS)}: the inputs are videos.")
    if output.resolve() in {pathlib.Path(source).resolve() for source in sources}:
        raise VideoError(f"The output {output} is one of the inputs.")
    if output.exists() and not overwrite:
        raise VideoError(f"{output} already exists; give --overwrite to replace.")
    library()
    return output
