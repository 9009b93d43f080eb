"""Radiometric thermal frames (14 or 16 bits, or degrees) to [0,1]: percentiles, plateau equalisation, fixed range."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


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


def _finite(frame: np.ndarray) -> np.ndarray:
    if not np.isfinite(frame).all():
        raise ValueError("The frame holds values that are not finite numbers.")
    return frame
