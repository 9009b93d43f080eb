"""Overshoot against scipy, and its gradient."""

import jax
import numpy as np
from scipy import ndimage

from lure_jax.metrics.halos import overshoot


def test_overshoot_equals_scipy_inside_the_mask():
    rng = np.random.default_rng(0)
    fused, infrared, visible = rng.uniform(0, 255, (3, 1, 30, 40)).astype(np.float32)
    fused, infrared = fused * 1.5 - 60, infrared * 0.3
    mask = np.zeros((1, 30, 40), bool)
    mask[:, :25, :33] = True
    got = np.asarray(overshoot(fused, infrared, visible, mask))[0, :25, :33]
    fused, infrared, visible = (x[0, :25, :33] for x in (fused, infrared, visible))
    top = ndimage.maximum_filter(np.maximum(infrared, visible), 7, mode="nearest")
    bottom = ndimage.minimum_filter(np.minimum(infrared, visible), 7, mode="nearest")
    expected = np.maximum(np.maximum(fused - top, bottom - fused), 0)
    assert (expected > 0).any()
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_gradient_pulls_back_what_left_the_range_and_leaves_the_rest():
    source = np.full((1, 16, 16), 0.5, np.float32)
    fused = source.copy()
    fused[0, 4, 4], fused[0, 9, 9], fused[0, 12, 12] = 0.8, 0.1, 0.5
    gradient = np.asarray(jax.grad(lambda x: overshoot(x, source, source).sum())(fused))[0]
    assert gradient[4, 4] == 1 and gradient[9, 9] == -1
    assert set(np.unique(gradient)) <= {-1.0, -0.5, 0.0, 0.5, 1.0}  # at the very edge of the range it is undecided
