"""The losses of the fused image against their formulas in numpy and against images that minimise them."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from lure_jax.metrics.color import luma, ycbcr_to_rgb
from lure_jax.metrics.color_difference import delta_e
from lure_jax.metrics.correlation import sum_of_correlations_of_differences
from lure_jax.metrics.information import entropy, mutual_information
from lure_jax.objectives import fusion
from lure_jax.objectives.fusion import SCALES, local_contrast_selection, soft_mutual_information

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


def test_differences_are_what_each_crop_lacks_of_enough_scd():
    visible, infrared = pair()
    grey = np.asarray(luma(visible))
    mean = (grey + infrared[..., 0]) / 2
    fused = np.stack([grey[0] + infrared[0, ..., 0] - 0.5, mean[1]])  # the sum has an SCD of 2, the mean a lower one
    fused = np.repeat(fused[..., None], 3, -1)
    scd = sum_of_correlations_of_differences(*(255 * y for y in (fused[..., 0], infrared[..., 0], grey)))
    assert scd[0] > 1.99 and scd[1] < 1.7
    lacks = fusion_losses(fused, visible, infrared)["differences"]
    np.testing.assert_allclose(lacks, (1.75 - scd[1]) / 2, rtol=1e-4)


def test_lightness_counts_beyond_what_the_maximum_differs():
    visible, infrared = (0.2 + 0.4 * image for image in pair())
    visible = np.repeat(luma(visible)[..., None], 3, -1)  # of greys the part of lightness is CIEDE2000
    maximum = np.maximum(visible, infrared)
    assert fusion_losses(maximum, visible, infrared)["lightness"] < 1e-6
    assert fusion_losses(visible, visible, infrared)["lightness"] == 0
    dark = 0.5 * visible
    beyond = delta_e(dark, visible) - delta_e(maximum, visible)
    assert min(beyond) > 5
    np.testing.assert_allclose(fusion_losses(dark, visible, infrared)["lightness"], np.mean(beyond) / 100, rtol=1e-3)


def test_lightness_does_not_dim_what_the_maximum_brightens():
    visible, infrared = pair()
    fused = np.where(infrared > 0.5, (visible + infrared) / 2, 0.5 * visible)
    slope = jax.grad(lambda f: fusion.lightness_beyond_maximum(f, visible, infrared).sum())(fused).sum(-1)
    between = (infrared > np.maximum(visible.max(-1, keepdims=True), 0.5))[..., 0]
    darkened = (infrared < np.minimum(visible.min(-1, keepdims=True), 0.5))[..., 0]
    assert between.any() and not slope[between].any() and darkened.any() and (slope[darkened] < 0).all()


def test_lightness_can_be_followed_downhill_from_black_and_white():
    visible, infrared = pair()
    for fused, sign in ((np.zeros_like(visible), -1), (np.ones_like(visible), 1)):
        slope = jax.grad(lambda f: fusion.lightness_beyond_maximum(f, visible, infrared).sum())(fused)
        assert np.isfinite(slope).all() and (sign * slope).max() > 0 and (sign * slope).min() >= 0


def test_heat_lost_against_scipy():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    disc = np.hypot(y - 50, x - 40) < 6
    infrared = (0.3 + 0.4 * disc + 0.02 * rng.random((1, 96, 96))).astype(np.float32)
    visible, fused = rng.uniform(0.3, 1, (2, 1, 96, 96)).astype(np.float32)
    sd, (cool, hot) = fusion.SURROUNDINGS, fusion.HOT
    low, share = (ndimage.gaussian_filter(a, sd, mode="constant", truncate=2) for a in (infrared[0], np.ones((96, 96))))
    weight = np.clip((infrared[0] - low / share - cool) / (hot - cool), 0, 1)
    assert (weight[disc] > 0).all() and weight[~disc].max() < 1e-3
    lost = weight * np.maximum(np.maximum(visible, infrared) - fused, 0)
    np.testing.assert_allclose(fusion.heat_lost(fused, visible, infrared), lost.mean(), rtol=1e-3)


def test_heat_and_entropy_are_of_the_fused_luma():
    visible, infrared = pair()
    fused = pair(1)[0]
    terms = fusion_losses(fused, visible, infrared)
    y_f, y_v = luma(fused), luma(visible)
    np.testing.assert_allclose(terms["heat"], fusion.heat_lost(y_f, y_v, infrared[..., 0]).mean(), rtol=1e-4)
    np.testing.assert_allclose(terms["entropy"], 8 - np.mean(entropy(np.rint(255 * np.asarray(y_f)))), atol=0.05)
    assert terms["heat"] > 1e-4


def test_heat_is_not_lost_in_the_maximum_nor_where_everything_is_hot():
    visible, infrared = np.full((1, 96, 96), 0.3, np.float32), np.full((1, 96, 96), 0.9, np.float32)
    assert fusion.heat_lost(visible, visible, infrared) == 0
    infrared[:, 40:50] = 0.2
    infrared[:, 44:46] = 0.9
    assert fusion.heat_lost(visible, visible, infrared) > 0
    assert fusion.heat_lost(np.maximum(visible, infrared), visible, infrared) == 0


def test_entropy_of_whole_levels_is_the_metric():
    levels = np.random.default_rng(0).integers(0, 256, (2, 48, 48)) // np.array([1, 9])[:, None, None]
    found = fusion.soft_entropy(levels.astype(np.float32))
    np.testing.assert_allclose(found, entropy(levels.astype(np.float32)), rtol=1e-5)
    assert found[0] > 7.5 > 5 > found[1]


def test_the_gradient_of_entropy_is_that_of_its_differences():
    levels = np.random.default_rng(0).uniform(100, 140, (1, 48, 48)).astype(np.float32)
    slope = np.asarray(jax.grad(lambda x: fusion.soft_entropy(x).sum())(levels))
    up, down = (fusion.soft_entropy(levels + step * np.sign(slope))[0] for step in (0.01, -0.01))
    np.testing.assert_allclose(up - down, 0.02 * np.abs(slope).sum(), rtol=0.05)


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


def parzen_information(fused, source, sd):
    """The same in numpy: bins of the fused image by linear interpolation, scipy's blur without a border."""
    joint = np.zeros((258, 258))  # room for what the blur pushes past the ends
    for f, a in zip(fused.ravel().astype(float), np.rint(source).astype(int).ravel(), strict=True):
        low = min(int(f), 254)
        joint[low + 1, a + 1] += 1 - (f - low)
        joint[low + 2, a + 1] += f - low
    joint = ndimage.gaussian_filter(joint, sd, truncate=3, mode="constant")[1:-1, 1:-1]
    joint /= joint.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = joint * np.log(joint / np.outer(joint.sum(1), joint.sum(0)))
    return np.nansum(terms)


def levels(seed=0):
    visible, infrared = pair(seed)
    return 255 * np.asarray(luma(visible)), np.rint(255 * infrared[..., 0])


def test_soft_mutual_information_of_whole_levels_without_blur_is_the_metric():
    fused, infrared = levels()
    visible = levels(1)[1]
    soft = sum(soft_mutual_information(np.rint(fused), source, 0) for source in (infrared, visible))
    np.testing.assert_allclose(soft, mutual_information(fused, infrared, visible), rtol=1e-5)


@pytest.mark.parametrize("sd", [1.0, 2.0])
def test_soft_mutual_information_against_numpy(sd):
    fused, infrared = levels()
    expected = [parzen_information(f, a, sd) for f, a in zip(fused, infrared, strict=True)]
    np.testing.assert_allclose(soft_mutual_information(fused, infrared, sd), expected, rtol=1e-4)


def test_the_gradient_of_soft_mutual_information_is_that_of_its_differences():
    fused, infrared = levels()
    slope = jax.grad(lambda f: soft_mutual_information(f, infrared).sum())(fused)
    direction = np.random.default_rng(3).standard_normal(fused.shape).astype(np.float32)
    inside = np.abs(fused - np.rint(fused)) > 0.05  # no pixel crosses a level
    direction *= inside
    step = 0.02 / np.abs(direction).max()
    nudged = [zip(fused + sign * step * direction, infrared, strict=True) for sign in (1, -1)]
    more, less = (sum(parzen_information(f, a, 1.0) for f, a in one) for one in nudged)
    assert np.sum(slope * direction) == pytest.approx((more - less) / (2 * step), rel=1e-2)


def test_a_copy_of_a_source_shares_more_with_it_than_a_noisy_copy():
    infrared = levels()[1]
    noisy = infrared + np.random.default_rng(0).normal(0, 2, infrared.shape).astype(np.float32)
    assert np.all(soft_mutual_information(infrared, infrared) > soft_mutual_information(noisy, infrared) + 0.1)
