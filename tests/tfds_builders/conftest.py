"""Tiny image files for the builders' tests."""

import pathlib

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def paint(tmp_path):
    """paint("vi/1.png", "RGB", size=(8, 6), seed=0) writes a random image under tmp_path and returns its pixels."""

    def write(name: str, mode: str = "RGB", size: tuple[int, int] = (8, 6), seed: int = 0) -> np.ndarray:
        path = pathlib.Path(tmp_path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = size[::-1] + ((len(mode),) if len(mode) > 1 else ())
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return pixels

    return write
