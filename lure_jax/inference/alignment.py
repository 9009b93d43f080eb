"""A visible and an infrared image that do not lie on each other yet, brought to the pixels that both show."""

from typing import NamedTuple

import numpy as np

from lure_jax.data import own_pairs, registration
from lure_jax.data.tonemap import percentile
from lure_jax.inference.arrays import to_unit
from lure_jax.metrics.color import luma


class Alignment(NamedTuple):
    """How two images of a rig lie on each other; the same for all of their frames.

    Attributes:
      matrix: (3,3), from a visible pixel to one of the infrared image.
      crop: (top, left, height, width) of the visible image that both show.
    """

    matrix: np.ndarray
    crop: tuple[int, int, int, int]

    def __call__(self, visible: np.ndarray, infrared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both images on the pixels of the crop, of the types they had."""
        top, left, height, width = self.crop
        warped = registration.warp(infrared, self.matrix, visible.shape[:2])
        both = (image[top : top + height, left : left + width] for image in (visible, warped))
        return tuple(np.ascontiguousarray(image) for image in both)


def align(visible: np.ndarray, infrared: np.ndarray) -> Alignment:
    """Registers an infrared image to a visible one, as `lure data align` does.

    Args:
      visible: (H,W) or (H,W,C), as the Fuser takes it.
      infrared: (h,w) or (h,w,C), of any size.

    Raises:
      DataError: the registration is not to be trusted, or the images have no area in common.
    """
    grey = np.asarray(luma(to_unit(visible, "visible")[0][0]))
    thermal = to_unit(infrared, "infrared", percentile)[0][0, ..., 0]
    found = own_pairs.shared_area(grey, thermal)
    return Alignment(found.registration.matrix, found.crop)
