"""The gallery shows every degradation, weak to strong."""

import numpy as np
from PIL import Image

from lure_jax.data import gallery
from lure_jax.data.degradations import DEGRADATIONS


def test_every_degradation_has_a_strip_that_grows_stronger(tmp_path):
    paths = gallery.write(tmp_path / "pictures")
    assert set(gallery.SHOWN) == set(DEGRADATIONS)
    assert [path.stem for path in paths[:-1]] == [f"degradation_{m}_{n}" for m, n in DEGRADATIONS]
    for path in paths[:-1]:
        tiles = np.split(np.asarray(Image.open(path), np.float32), 4, 1)
        changes = [np.abs(tile - tiles[0]).mean() for tile in tiles]
        assert changes[0] < changes[1] < changes[2] < changes[3], (path.stem, changes)
