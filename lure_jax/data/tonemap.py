"""Radiometric thermal frames (14 or 16 bits, or degrees) to [0,1]: percentiles, plateau equalisation, fixed range."""

import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lure_jax.errors import UserError


class ToneMap(NamedTuple):
    """A curve that was fitted to a frame, to be kept with it and to be used again: piecewise linear.

    Attributes:
      method: "percentile", "plateau" or "fixed".
      values: stored values in ascending order.
      tones: what they become, 0 to 1.
    """

    method: str
    values: tuple[float, ...]
    tones: tuple[float, ...]

    def __call__(self, frame: np.ndarray) -> Float[np.ndarray, "..."]:
        """The frame as float32 in [0,1]; what lies beyond the ends is clipped."""
        return np.interp(frame, self.values, self.tones).astype(np.float32)

    def inverse(self, image: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Stored values, float64, of tones in [0,1]; where many values have one tone, the highest of them."""
        return np.interp(image, self.tones, self.values)

    def to_json(self) -> str:
        """One line, to be kept beside the image."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> "ToneMap":
        """The same curve as was written by `to_json`, to the last bit."""
        kept = json.loads(text)
        return cls(kept["method"], tuple(kept["values"]), tuple(kept["tones"]))


Fit = Callable[[np.ndarray], ToneMap]


def fit(tone: str | ToneMap) -> Fit:
    """The function that fits a curve to a frame.

    Args:
      tone: "percentile", "plateau", "LOW:HIGH" (stored values, the same for every frame), or a curve for all frames.

    Raises:
      UserError: another word.
    """
    if isinstance(tone, ToneMap):
        return lambda frame: tone
    if tone in _METHODS:
        return _METHODS[tone]
    try:
        low, high = map(float, tone.split(":"))
        curve = fixed(low, high)
    except ValueError as error:
        raise UserError(f"Tone mapping {tone!r} is none of {', '.join(_METHODS)} or LOW:HIGH.") from error
    return lambda frame: curve


def percentile(frame: np.ndarray, low: float = 0.1, high: float = 99.9) -> ToneMap:
    """Straight between two percentiles of the frame: what the builders and the Fuser do by default."""
    return fixed(*np.percentile(_finite(frame), (low, high)).tolist())._replace(method="percentile")


def fixed(low: float, high: float) -> ToneMap:
    """Straight between two stored values, the same for every frame: grey means temperature. A flat frame becomes 0.

    Raises:
      ValueError: low lies above high.
    """
    if low > high:
        raise ValueError(f"The range {low:g} to {high:g} runs downwards; give the lower value first.")
    return ToneMap("fixed", (low, high if high > low else low + 1), (0.0, 1.0))


def plateau(frame: np.ndarray, limit: float = 0.02, bins: int = 256) -> ToneMap:
    """Histogram equalisation in which no bin counts for more than `limit` of the pixels.

    After Vickers, Plateau equalization algorithm for real-time display of high-quality infrared imagery, Optical
    Engineering 35(7), 1996. A limit of 1 is plain equalisation; a small one comes near the straight line.

    Args:
      frame: finite values.
      limit: share of the pixels.
      bins: between the frame's 0.1 and 99.9 percentiles.
    """
    low, high = percentile(frame).values
    counts, edges = np.histogram(np.clip(frame, low, high), bins, (low, high))
    rising = np.cumsum(np.minimum(counts, limit * counts.sum()))
    tones = np.concatenate([[0], rising / rising[-1]])
    return ToneMap("plateau", tuple(edges.tolist()), tuple(tones.tolist()))


_METHODS = {"percentile": percentile, "plateau": plateau}


def _finite(frame: np.ndarray) -> np.ndarray:
    if not np.isfinite(frame).all():
        raise ValueError("The frame holds values that are not finite numbers.")
    return frame
