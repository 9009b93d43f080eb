"""Restoration scores against closed forms, a numpy SSIM and recorded anchors; prompts on a fake restorer."""

import cv2
import numpy as np
import pytest

from lure_jax.evaluation import restoration as protocol
from lure_jax.evaluation.restoration import Pair
from lure_jax.inference.images import read
from lure_jax.text.prompts import PROMPT_CONDITIONS

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (40, 61, 3), np.uint8)


def reference_ssim(x, y):
    """Wang's formula over whole 11 x 11 windows, channel by channel."""
    x, y = x.astype(float), y.astype(float)
    taps = cv2.getGaussianKernel(11, 1.5)

    def mean(z):
        return cv2.sepFilter2D(z, -1, taps, taps)[5:-5, 5:-5]

    a, b = mean(x), mean(y)
    var_x, var_y, cov = mean(x * x) - a * a, mean(y * y) - b * b, mean(x * y) - a * b
    c1, c2 = 2.55**2, 7.65**2
    return ((2 * a * b + c1) * (2 * cov + c2) / ((a * a + b * b + c1) * (var_x + var_y + c2))).mean()


def test_psnr_closed_form():
    flat = np.full((20, 20, 3), 100, np.uint8)
    assert protocol.psnr(flat + 5, flat) == pytest.approx(20 * np.log10(255 / 5), abs=1e-5)
    assert protocol.psnr(flat, flat) == pytest.approx(100)


@pytest.mark.parametrize("image", [PHOTO, PHOTO[..., 0]], ids=["colour", "grey"])
def test_score_of_an_odd_size_equals_numpy(image):
    noisy = np.clip(image + RNG.normal(0, 40, image.shape), 0, 255).astype(np.uint8)
    score = protocol.score(noisy, image)
    assert score.ssim == pytest.approx(reference_ssim(noisy, image), abs=1e-4)
    assert score.psnr == pytest.approx(cv2.PSNR(noisy, image), abs=1e-3)


def test_score_refuses_other_shapes():
    with pytest.raises(ValueError, match="must be equal"):
        protocol.score(PHOTO, PHOTO[1:])


def test_brightness_matching_undoes_a_gain():
    bright = (PHOTO // 2) * 2
    dark = bright // 2
    assert protocol.psnr(dark, bright) < 15
    assert protocol.psnr(protocol.brightness_matched(dark, bright), bright) > 50


def test_compare_averages_over_pairs():
    flat = np.full((16, 16), 100, np.uint8)
    scores = protocol.compare([Pair(flat + 10, flat), Pair(flat + 20, flat)], {"half": lambda i: i // 2 + 50})
    assert list(scores) == ["input", "half"]
    gain = scores["half"].psnr - scores["input"].psnr
    assert gain == pytest.approx(20 * np.log10(2), abs=1e-4)


def test_stripes_are_constant_along_columns():
    flat = np.full((50, 4000), 128, np.uint8)
    for pair in protocol.striped_pairs([flat, flat], seed=3):
        added = pair.degraded.astype(float) - 128
        assert (added == added[:1]).all()
        assert 4.7 < added[0].std() < 7.3
    first, second = protocol.striped_pairs([flat, flat], seed=3)
    assert (first.degraded != second.degraded).any()


def test_gaussian_noise_has_its_sd():
    flat = np.full((200, 200, 3), 128, np.uint8)
    (pair,) = protocol.gaussian_pairs([flat], 25, seed=0)
    assert (pair.degraded.astype(float) - 128).std() == pytest.approx(25, rel=0.02)


@pytest.mark.parametrize("modality, image", [("visible", PHOTO), ("infrared", PHOTO[..., 0])])
def test_synthetic_pairs_repeat_and_differ_between_images(modality, image):
    noise = [protocol.condition_ids_of(modality)["noise"]]
    once, again = (protocol.synthetic_pairs([image, image], noise, seed=1) for _ in range(2))
    assert (once[0].degraded == again[0].degraded).all()
    assert (once[0].degraded != once[1].degraded).any()
    assert once[0].degraded.shape == image.shape and once[0].degraded.dtype == np.uint8
    assert once[0].reference is image


def test_reproduction_asks_for_clean():
    asked = []

    def restore(image, modality, prompt):
        asked.append(PROMPT_CONDITIONS[prompt.infrared[0]])
        return image + 1

    flat = np.full((16, 16), 100, np.uint8)
    assert protocol.reproduction(restore, [flat, flat], "infrared") == pytest.approx(20 * np.log10(255), abs=1e-4)
    assert asked == [protocol.condition_ids_of("infrared")["clean"]] * 2


def test_prompt_cost_of_a_restorer_that_listens():
    """Errors of 1 level with the right prompt, 4 with "clean", 8 with any other."""
    ids = protocol.condition_ids_of("infrared")
    error = {ids["stripe"]: 1, ids["clean"]: 4}
    flat = np.full((12, 12), 100, np.uint8)

    def restore(images, modality, prompt):
        assert images.shape == (2, 12, 12, 1) and modality == "infrared"
        return np.full_like(images, 100 + error.get(int(PROMPT_CONDITIONS[prompt.infrared[0]]), 8))

    cost = protocol.prompt_cost(restore, [Pair(flat + 30, flat)] * 2, "infrared", "stripe")
    expected = 20 * np.log10([4, 8, 8, 8]).mean()
    assert cost.right == pytest.approx(20 * np.log10(255), abs=1e-4)
    assert cost.mean == pytest.approx(expected, abs=1e-3)
    assert (cost.smallest, cost.strongest_wrong) == (pytest.approx(20 * np.log10(4), abs=1e-3), "clean")


def test_centre_cuts_and_continues():
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert (protocol.centre(image, 4) == image[3:7, 3:7]).all()
    wide = protocol.centre(image[:2], 6)
    assert wide.shape == (6, 6)
    assert (wide[2:4] == image[:2, 2:8]).all() and (wide[1] == wide[2]).all()


def test_gamma_sends_a_flat_image_to_its_target():
    out = protocol.gamma_to_mean(np.full((4, 4, 3), 20, np.uint8))
    assert np.unique(out).tolist() in ([114], [115])


def test_gamma_gives_the_recorded_anchor(shared_data):
    """16.34 dB / .672 over all 14 pairs, input 6.90 / .191: measured by others."""
    folder = shared_data / "restore" / "lowlight_lol"
    names = sorted(path.name for path in (folder / "low").iterdir())
    pairs = [Pair(*(read(folder / part / name, "visible") for part in ("low", "high"))) for name in names]
    scores = protocol.compare(pairs, {"gamma": protocol.gamma_to_mean})
    assert scores["input"][:2] == pytest.approx((6.90, 0.191), abs=0.006)
    assert scores["gamma"][:2] == pytest.approx((16.34, 0.672), abs=0.006)
