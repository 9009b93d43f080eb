"""Classical restorations: each helps against its own degradation, and estimates what it has to know."""

import numpy as np
import pytest
from scipy import ndimage

from lure_jax.data.degradations import DEGRADATIONS
from lure_jax.evaluation import classical
from lure_jax.evaluation.restoration import psnr


@pytest.fixture(scope="module")
def scene():
    """A smooth (96,128,3) picture with edges, 20..230."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.standard_normal((96, 128, 3)), (6, 6, 0))
    picture = 110 + 30 * smooth / smooth.std()
    picture[30:70, 40:90] += 50
    return np.clip(picture, 20, 230).astype(np.uint8)


def noisy(image, sd):
    noise = np.random.default_rng(1).normal(0, sd, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sd", [4, 10, 20])
def test_noise_is_measured(scene, sd):
    assert classical.noise_sd(noisy(scene, sd)) == pytest.approx(sd, rel=0.1)
    assert classical.noise_sd(noisy(scene[..., 0], sd)) == pytest.approx(sd, rel=0.1)


@pytest.mark.parametrize("sd", [4, 20])
def test_non_local_means_removes_weak_and_strong_noise(scene, sd):
    for image in (scene, scene[..., 0]):
        bad = noisy(image, sd)
        assert psnr(classical.non_local_means(bad), image) > psnr(bad, image) + 3


@pytest.mark.parametrize("axis", [0, 1])
def test_stripes_go_in_columns_and_in_rows(scene, axis):
    clean = scene[..., 0]
    shape = [1, 1]
    shape[axis] = clean.shape[axis]
    stripes = np.random.default_rng(0).normal(0, 8, shape)
    bad = np.clip(clean + stripes, 0, 255).astype(np.uint8)
    assert psnr(classical.without_stripes(bad), clean) > psnr(bad, clean) + 6


def test_haze_goes(scene):
    """Koschmieder's law with one transmission: the dark channel needs something dark in each patch."""
    dark = scene.copy()
    dark[::6, ::6] = 0
    dark[:20] = 200  # sky, where the airlight is seen
    hazy = np.round(0.5 * dark + 0.5 * 220).astype(np.uint8)
    assert psnr(classical.dark_channel(hazy)[30:], dark[30:]) > psnr(hazy[30:], dark[30:]) + 5


def test_thin_streaks_go(scene):
    bad = scene.copy()
    bad[:, ::9] = 255
    assert psnr(classical.median(bad), scene) > psnr(bad, scene) + 10


def test_blur_becomes_less(scene):
    bad = ndimage.gaussian_filter(scene, (1.5, 1.5, 0))
    assert psnr(classical.unsharp(bad), scene) > psnr(bad, scene) + 1


def test_a_narrow_range_becomes_wide(scene):
    out = classical.contrast_stretch((100 + scene[..., 0] / 10).astype(np.uint8))
    assert out.min() == 0 and out.max() == 255


def test_every_restoration_keeps_the_form_and_bears_flat_images():
    assert set(classical.RESTORATIONS) == set(DEGRADATIONS) - {("visible", "over_exposure")}
    for (modality, name), (_, restore) in classical.RESTORATIONS.items():
        for value in (1, 128, 254):
            flat = np.full((64, 80, 3) if modality == "visible" else (64, 80), value, np.uint8)
            out = restore(flat)
            assert out.shape == flat.shape and out.dtype == np.uint8, name
            assert out.std() < 1, name
