"""The losses of the fused image against their formulas in numpy and against images that minimise them."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from lure_jax.metrics.color import luma, ycbcr_to_rgb
from lure_jax.objectives import fusion
from lure_jax.objectives.fusion import SCALES, local_contrast_selection

fusion_losses = jax.jit(fusion.fusion_losses)  # operation by operation it takes a minute


def pair(seed=0):
    rng = np.random.default_rng(seed)
    visible = ndimage.gaussian_filter(rng.random((2, 48, 48, 3)), (0, 2, 2, 0)).astype(np.float32)
    return visible, ndimage.gaussian_filter(rng.random((2, 48, 48, 1)), (0, 1, 1, 0)).astype(np.float32)


def test_terms_against_numpy():
    visible, infrared = pair()
    fused = pair(1)[0]
    terms = fusion_losses(fused, visible, infrared)
    y_f, y_v, y_i = (np.asarray(luma(fused), float), np.asarray(luma(visible), float), infrared[..., 0].astype(float))
    selected = np.clip(local_contrast_selection(luma(visible), infrared[..., 0]), 0, 1)
    target = (np.maximum(y_v, y_i) + selected) / 2
    np.testing.assert_allclose(terms["intensity"], np.abs(y_f - target).mean(), rtol=1e-4)
    inside = np.s_[:, 1:-1, 1:-1]  # independent of how the border is treated
    gradient = 0
    for axis in (1, 2):
        f, v, i = (np.abs(np.stack([ndimage.sobel(x, axis - 1) for x in y])) / 4 for y in (y_f, y_v, y_i))
        gradient += np.abs(f - np.maximum(v, i))[inside].mean()
    np.testing.assert_allclose(terms["gradient"], gradient, rtol=0.25)


def test_the_visible_image_has_no_colour_loss_and_a_tint_has():
    visible, infrared = pair()
    assert fusion_losses(visible, visible, infrared)["colour"] < 1e-5
    assert fusion_losses(visible * np.array([1.2, 1, 0.8], np.float32), visible, infrared)["colour"] > 0.02


def test_equal_sources_are_their_own_best_fusion():
    grey = pair()[1]
    terms = fusion_losses(np.repeat(grey, 3, -1), np.repeat(grey, 3, -1), grey)
    assert all(abs(terms[name]) < 1e-4 for name in ("intensity", "gradient", "similarity", "colour", "information"))
    assert terms["edges"] < 0.05  # Qabf of equal images is 0.98; SCD has nothing to compare


def test_a_halo_overshoots_and_what_either_source_shows_does_not():
    visible, infrared = pair()
    grey = np.repeat(infrared, 3, -1)
    assert fusion_losses(visible, visible, infrared)["overshoot"] < 1e-6
    assert fusion_losses(grey, visible, infrared)["overshoot"] < 1e-6
    top = max(visible.max(), infrared.max())
    halo = np.full_like(visible, top + 0.1)
    assert fusion_losses(halo, visible, infrared)["overshoot"] >= 0.1


def test_what_is_all_but_clipped_counts_as_overshoot():
    for value, expected in ((1.0, 1.5 / 255), (0.0, 1.5 / 255), (0.5, 0.0)):
        grey = np.full((1, 48, 48, 1), value, np.float32)
        colour = np.repeat(grey, 3, -1)
        assert fusion_losses(colour, colour, grey)["overshoot"] == pytest.approx(expected, abs=1e-6)


def test_luma_terms_do_not_see_chroma():
    visible, infrared = pair()
    fused = np.stack([np.asarray(luma(pair(2)[0])), *np.full((2, 2, 48, 48), 0.5)], -1)
    tinted = fused + np.array([0, 0.02, -0.02])
    grey, colour = (fusion_losses(ycbcr_to_rgb(x.astype(np.float32)), visible, infrared) for x in (fused, tinted))
    for name in ("intensity", "gradient", "similarity"):
        np.testing.assert_allclose(grey[name], colour[name], rtol=1e-3)


def test_selection_of_equal_images_is_that_image():
    y = pair()[1][..., 0]
    np.testing.assert_allclose(local_contrast_selection(y, y), y, atol=1e-5)


def test_selection_takes_the_detail_of_either_and_is_symmetric():
    flat = np.full((1, 64, 64), 0.5, np.float32)
    textured = flat + 0.1 * np.random.default_rng(0).normal(size=flat.shape).astype(np.float32)
    selected = np.asarray(local_contrast_selection(flat, textured))
    np.testing.assert_allclose(selected, local_contrast_selection(textured, flat), atol=1e-6)
    inside = np.s_[:, 20:-20, 20:-20]
    low = ndimage.gaussian_filter(textured[0], np.sqrt(np.sum(np.square(SCALES))))[None]  # blurs in a row add up
    expected = textured + np.maximum(0.5 - low, 0)  # all details are the textured image's; the base is the larger
    np.testing.assert_allclose(selected[inside], expected[inside], atol=0.01)
