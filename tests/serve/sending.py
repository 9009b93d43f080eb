"""Images to send to a server."""

import io

import numpy as np
from PIL import Image

SIZE = (48, 64)


def picture(size=SIZE, channels=3, dtype=np.uint8, seed=0):
    """Noise that a network has something to do with."""
    shape = (*size, channels) if channels > 1 else size
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype)


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def pair(size=SIZE):
    """The fields of a pair, to send."""
    return {
        "visible": ("v.png", encoded(picture(size))),
        "infrared": ("i.png", encoded(picture(size, 1, seed=1))),
    }
