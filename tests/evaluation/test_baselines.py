"""Baselines against OpenCV, closed forms and the recorded numbers."""

import csv

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lure_jax.evaluation import baselines
from lure_jax.metrics.color import luma
from lure_jax.metrics.fusion import evaluate_fused


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    visible, infrared = rng.random((2, 67, 90)).astype(np.float32)
    return cv2.GaussianBlur(visible, (0, 0), 2), cv2.GaussianBlur(infrared, (0, 0), 3)


@pytest.fixture(scope="module")
def fused(pair):
    visible, infrared = (jnp.asarray(x)[None] for x in pair)
    return {name: np.asarray(jax.jit(rule)(visible, infrared)[0]) for name, rule in baselines.RULES.items()}


def opencv_laplacian(visible, infrared):
    tops = [np.float64(visible), np.float64(infrared)]
    details = []
    for _ in range(5):
        smaller = [cv2.pyrDown(x) for x in tops]
        v, i = (x - cv2.pyrUp(s, dstsize=x.shape[::-1]) for x, s in zip(tops, smaller, strict=True))
        details.append(np.where(abs(v) >= abs(i), v, i))
        tops = smaller
    out = (tops[0] + tops[1]) / 2
    for detail in reversed(details):
        out = cv2.pyrUp(out, dstsize=detail.shape[::-1]) + detail
    return np.clip(out, 0, 1)


def opencv_guided_filter(*images):
    images = [np.float64(x) for x in images]
    box = lambda x, size: cv2.blur(x, (size, size), borderType=cv2.BORDER_REFLECT)  # noqa: E731

    def guided(image, target, radius, eps):
        size = 2 * radius + 1
        mean, mean_target = box(image, size), box(target, size)
        a = (box(image * target, size) - mean * mean_target) / (box(image**2, size) - mean**2 + eps)
        return np.clip(box(a, size) * image + box(mean_target - a * mean, size), 0, 1)

    saliency = [cv2.GaussianBlur(abs(cv2.Laplacian(x, cv2.CV_64F)), (11, 11), 5) for x in images]
    wins = [(saliency[0] > saliency[1]) * 1.0, (saliency[0] <= saliency[1]) * 1.0]
    bases = [box(x, 31) for x in images]
    out = 0
    for layers, guide in (
        (bases, (45, 0.3)),
        ([x - b for x, b in zip(images, bases, strict=True)], (7, 1e-6)),
    ):
        weights = [guided(x, won, *guide) for x, won in zip(images, wins, strict=True)]
        out += (weights[0] * layers[0] + weights[1] * layers[1]) / (weights[0] + weights[1] + 1e-12)
    return np.clip(out, 0, 1)


def test_average_and_maximum(pair, fused):
    np.testing.assert_allclose(fused["average"], (pair[0] + pair[1]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(fused["max"], np.maximum(*pair))


def test_laplacian_is_opencvs(pair, fused):
    expected = opencv_laplacian(*pair)
    np.testing.assert_allclose(fused["laplacian"], expected, atol=2e-6)
    both = (expected + np.maximum(*pair)) / 2
    low, high = np.percentile(both, [0.1, 99.9])
    stretched = 0.3 * both + 0.7 * np.clip((both - low) / (high - low), 0, 1)
    np.testing.assert_allclose(fused["stretched_laplacian_max"], stretched, atol=1e-5)


def test_guided_filter_is_opencvs(pair, fused):
    np.testing.assert_allclose(fused["guided_filter"], opencv_guided_filter(*pair), atol=1e-3)


def test_wavelets_reconstruct_and_see_no_detail_in_a_ramp(pair):
    x = jnp.asarray(pair[0])[None]
    back = baselines._synthesis(baselines._analysis(x))[:, : x.shape[1], : x.shape[2]]
    np.testing.assert_allclose(back, x, atol=1e-6)
    ramp = jnp.broadcast_to(jnp.arange(40.0), (1, 30, 40)) + jnp.arange(30.0)[:, None]
    for detail in baselines._analysis(ramp)[1:]:  # db2 has two vanishing moments
        np.testing.assert_allclose(detail[:, 2:-2, 2:-2], 0, atol=1e-4)


def test_one_source_twice_gives_it_back(pair):
    x = jnp.asarray(pair[0])[None]
    for name in ("average", "max", "laplacian", "guided_filter", "dwt_max"):
        np.testing.assert_allclose(jax.jit(baselines.RULES[name])(x, x), x, atol=1e-5, err_msg=name)


def test_colour_is_the_visible_images(pair):
    visible = jnp.asarray(np.stack([pair[0] * 0.4 + 0.3, pair[0] * 0.3 + 0.3, pair[1] * 0.3 + 0.3], -1))[None]
    infrared = jnp.asarray(pair[1] * 0.4 + 0.3)[None, ..., None]
    out = baselines.BASELINES["average"](visible, infrared)
    np.testing.assert_allclose(luma(out), (luma(visible) + infrared[..., 0]) / 2, atol=1e-5)
    np.testing.assert_allclose(out[..., 0] - out[..., 2], visible[..., 0] - visible[..., 2], atol=1e-5)


def test_too_small_an_image_is_named():
    with pytest.raises(ValueError, match="laplacian got an image of 20x40"):
        baselines.laplacian(jnp.zeros((1, 20, 40)), jnp.zeros((1, 20, 40)))


@pytest.mark.slow
def test_recorded_numbers(shared_data):
    folder = shared_data.parent / "peers"
    with (folder / "per_image.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file) if row["image"] == "01126N"}
    rgb = np.asarray(Image.open(next((shared_data / "msrs" / "vi").glob("01126N.*"))).convert("RGB"))
    grey = np.asarray(Image.open(next((shared_data / "msrs" / "ir").glob("01126N.*"))).convert("L"))
    visible = jnp.round(luma(jnp.asarray(rgb, jnp.float32)))[None]
    infrared = jnp.asarray(grey, jnp.float32)[None]
    for name, rule in baselines.RULES.items():
        image = jnp.floor(255 * jax.jit(rule)(visible / 255, infrared / 255) + 0.5)
        got = evaluate_fused(image, infrared, visible)
        for metric in ("EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM"):
            assert float(got[metric][0]) == pytest.approx(float(rows[name][metric]), rel=0.01), (name, metric)
