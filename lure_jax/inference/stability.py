"""Videos that do not flicker: statistics smoothed over frames, and still pixels averaged over time."""

import cv2
import jax
import numpy as np
from jaxtyping import Float

from lure_jax.data import tonemap
from lure_jax.inference import arrays
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.prompt import AUTO, Prompt, answer_auto
from lure_jax.text.prompts import PROMPT_CONDITIONS

AVERAGED = 8  # frames that a still pixel is the mean of
HYSTERESIS = 0.1  # of probability, by which a condition must pass its threshold to come or go
CUT = 0.4  # share of the pixels that change their bin of the histogram where a new scene begins
STILL, MOVED = 3.5, 6.0  # differences, in standard deviations of the noise, up to and from which a pixel is so
_REACH = 9  # pixels around a moving one that the network changes with it
_FINEST = 0.3 / 255  # noise that rounding to 8 bits leaves after the blur


class Steady:
    """Fuses (or restores) the frames of a video one after another, each with what the ones before have taught.

    Three things are remembered. The statistics that the network takes over the whole image are a running mean, as are
    the tone curves of radiometric frames; a condition found by `auto` must pass its threshold by `HYSTERESIS` to come
    or go. And a pixel around which no input has changed by more than its noise is a running mean of `average` results;
    where something moves the mean starts anew, so that nothing trails behind it. A cut makes it forget everything.

    Args:
      fuser: the model.
      prompt: of the whole video, as `Fuser.read_prompt` gives it.
      average: frames that a still pixel is the mean of; 1 for none.
    """

    def __init__(self, fuser: Fuser, prompt: Prompt, average: int = AVERAGED):
        self._fuser, self._prompt, self._average = fuser, prompt, average
        self._scene: _Scene | None = None

    def __call__(self, frames: dict[str, np.ndarray]) -> np.ndarray:
        """The next result.

        Args:
          frames: "visible" (H,W,3) and "infrared" (H,W), or one of them, as the Fuser takes them; always of one size.

        Returns:
          An image with the shape and dtype of the first frame.
        """
        first = next(iter(frames.values()))
        if self._scene is None or self._scene.ended(frames):
            self._scene = _Scene(self._fuser, self._prompt, self._average, frames)
        result = self._scene.next(frames)
        return arrays.from_unit(result[None], arrays.Form(first.shape, first.dtype))


class _Scene:
    """What is remembered since the last cut."""

    def __init__(self, fuser: Fuser, prompt: Prompt, average: int, frames: dict[str, np.ndarray]):
        self._fuser, self._prompt, self._average = fuser, prompt, average
        self._histograms = {m: _histogram(frame) for m, frame in frames.items()}
        self._curve: tonemap.ToneMap | None = None
        self._statistics, self._asked = None, prompt
        self._seen = 0
        self._still: dict[str, StillPixels] = {m: StillPixels() for m in frames}
        self._count, self._result = None, None

    def ended(self, frames: dict[str, np.ndarray]) -> bool:
        """Whether these frames look like another scene; the look of this one is brought up to date."""
        fresh = {m: _histogram(frame) for m, frame in frames.items()}
        changes = [np.abs(fresh[m] - self._histograms[m]).sum() / 2 for m in frames]
        self._histograms = fresh
        return max(changes) > CUT

    def next(self, frames: dict[str, np.ndarray]) -> Float[np.ndarray, "H W 3"]:
        self._seen += 1
        frames = {m: self._toned(frame) if m == "infrared" else frame for m, frame in frames.items()}
        parts, measured = self._fuser.parts(frames, self._asked, self._statistics, measure=True)
        fresh = np.concatenate([part[0] for _, part in parts])
        self._learn(measured)
        keep = np.minimum.reduce([self._still[m].look(_unit(frame)) for m, frame in frames.items()])
        if self._result is None:
            self._count, self._result = np.ones(fresh.shape[:2], np.float32), fresh
        else:
            self._count = 1 + keep * np.minimum(self._count, self._average - 1)
            self._result = self._result + (fresh - self._result) / self._count[..., None]
        for still in self._still.values():
            still.remember(self._count)
        return self._result

    def _toned(self, frame: np.ndarray) -> np.ndarray:
        """Radiometric frames by a curve that changes slowly."""
        if frame.dtype != np.uint16:
            return frame
        fresh = self._fuser.fit_tone(frame)
        if self._curve is None or len(fresh.values) != len(self._curve.values):
            self._curve = fresh
        else:
            share = 1 / min(self._seen, AVERAGED)
            values, tones = (
                tuple((np.asarray(old) + share * (np.asarray(new) - np.asarray(old))).tolist())
                for old, new in zip(self._curve[1:], fresh[1:], strict=True)
            )
            self._curve = tonemap.ToneMap(fresh.method, values, tones)
        return self._curve(frame)

    def _learn(self, measured) -> None:
        if not measured:
            return
        logits = {m: measured.pop(f"{m}/logits") for m in self._still}
        share = 1 / min(self._seen, AVERAGED)
        old = self._statistics or {}
        # An image is described a second time only while something is found that `repair` removes
        self._statistics = {
            name: jax.tree.map(lambda old, new: old + share * (new - old), old.get(name, new), new)
            for name, new in measured.items()
        }
        self._asked = self._asked._replace(**{m: self._answer(m, logits[m]) for m in logits})

    def _answer(self, modality: str, logits) -> np.ndarray:
        """What `auto` says from now on: conditions found stay unless they become clearly less probable."""
        own = getattr(self._prompt, modality)
        if not isinstance(own, np.ndarray) or not (own == AUTO).all():
            return own
        before, thresholds = getattr(self._asked, modality), np.asarray(self._fuser.thresholds)
        if not (before == AUTO).all():
            found = np.isin(np.arange(len(thresholds)), PROMPT_CONDITIONS[before[before >= 0]])
            thresholds = thresholds + np.where(found, -HYSTERESIS, HYSTERESIS).astype(np.float32)
        return np.asarray(answer_auto(own[None], logits, thresholds, modality))[0]


class StillPixels:
    """Where the frames of one camera show the same as before, but for noise."""

    def __init__(self):
        self._mean: np.ndarray | None = None
        self._last: np.ndarray | None = None
        self._frame: np.ndarray | None = None

    def look(self, frame: Float[np.ndarray, "H W C"]) -> Float[np.ndarray, "H W"]:
        """How still each pixel is, 0 (it or one near it has changed) to 1, against the mean since it last changed.

        The noise is what most pixels change by from frame to frame, but no more than twice what single frames show:
        a moving camera changes all pixels. It is measured, as are the changes, after a blur.

        Args:
          frame: in [0,1].
        """
        last, self._last, self._frame = self._last, _blurred(frame), frame
        if last is None:
            return np.ones(frame.shape[:2], np.float32)
        noise = max(_FINEST, min(_deviation(self._last - last), 2 * _noise(frame) * _NOISE_LEFT * 2**0.5))
        change = np.abs(self._last - _blurred(self._mean)).max(-1) / noise
        still = np.clip((MOVED - change) / (MOVED - STILL), 0, 1)
        return cv2.erode(still, np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8))

    def remember(self, count: Float[np.ndarray, "H W"]) -> None:
        """Takes the frame looked at into the mean of so many frames."""
        if self._mean is None:
            self._mean = self._frame
        else:
            self._mean = self._mean + (self._frame - self._mean) / count[..., None]


_BLUR = 1.5  # pixels, standard deviation
_NOISE_LEFT = 1 / (2 * np.pi**0.5 * _BLUR)  # of white noise after that blur


def _blurred(image: Float[np.ndarray, "H W C"]) -> Float[np.ndarray, "H W C"]:
    return cv2.GaussianBlur(image, (0, 0), _BLUR).reshape(image.shape)


def _deviation(values: np.ndarray) -> float:
    """Standard deviation of normal values around zero, of which less than half are something else."""
    return float(np.median(np.abs(values[::2, ::2]))) / 0.6745


def _noise(frame: Float[np.ndarray, "H W C"]) -> float:
    """Standard deviation of the noise of one frame, by differences that no slope has (Immerkaer, CVIU 1996)."""
    kernel = np.outer([1, -2, 1], [1, -2, 1]).astype(np.float32) / 6
    return _deviation(cv2.filter2D(frame, -1, kernel))


def _unit(frame: np.ndarray) -> Float[np.ndarray, "H W C"]:
    scale = np.iinfo(frame.dtype).max if frame.dtype.kind == "u" else 1
    return (frame.reshape(*frame.shape[:2], -1) / np.float32(scale)).astype(np.float32)


def _histogram(frame: np.ndarray) -> Float[np.ndarray, "16"]:
    """Shares of the pixels, from dark to bright."""
    grey = frame[::4, ::4].astype(np.float32)
    grey = grey.mean(-1) if grey.ndim == 3 else grey
    top = np.iinfo(frame.dtype).max if frame.dtype.kind == "u" else 1
    return np.histogram(grey, 16, (0, top))[0] / grey.size
