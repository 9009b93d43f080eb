"""Fusion metrics: golden values, formulas in numpy, invariances, flat images, padding."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lure_jax.metrics.correlation import psnr
from lure_jax.metrics.fusion import FUSION_METRICS, evaluate_fused

SHAPE = (1, 176, 180)
SOURCES = [name for name, metric in FUSION_METRICS.items() if metric.needs_source]
few = settings(max_examples=5, deadline=None, derandomize=True)


def textured(seed, low=0, high=255):
    """Smooth shapes and noise, in whole levels, so that no metric is degenerate."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    waves = sum(np.sin(x * rng.uniform(0.02, 0.3) + y * rng.uniform(-0.3, 0.3) + k) for k in range(4))
    noisy = waves + 0.3 * rng.standard_normal(waves.shape)
    scaled = (noisy - noisy.min()) / np.ptp(noisy)
    return jnp.asarray(np.round(low + (high - low) * scaled), jnp.float32)[None]


def test_golden_values(shared_data):
    folder = shared_data.parent / "peers"
    rows = json.loads((folder / "golden.json").read_text())
    rows = [row for row in rows if row["pair"] in ("tno_18", "msrs_01126N")]
    assert len(rows) == 6
    for row in rows:
        images = [
            jnp.asarray(np.asarray(Image.open(folder / "golden" / row[kind])), jnp.float32)[None]
            for kind in ("fused", "infrared", "visible")
        ]
        got = evaluate_fused(*images)
        for name, expected in row["metrics"].items():
            assert float(got[name][0]) == pytest.approx(expected, rel=1e-4), (
                row["pair"],
                row["method"],
                name,
            )


def test_formulas_of_moments_and_histograms():
    fused, infrared, visible = (textured(seed) for seed in range(3))
    got = {name: float(value[0]) for name, value in evaluate_fused(fused, infrared, visible).items()}
    f, a, b = (np.float64(x[0]) for x in (fused, infrared, visible))
    gy, gx = np.gradient(f)

    def entropy(*images):
        counts = np.unique(np.stack([x.ravel() for x in images]), axis=1, return_counts=True)[1]
        return -(counts / f.size * np.log(counts / f.size)).sum()

    def r(x, y):
        return np.corrcoef(x.ravel(), y.ravel())[0, 1]

    shared = sum(entropy(f) + entropy(s) - entropy(f, s) for s in (a, b))
    expected = {
        "EN": entropy(f) / np.log(2),
        "SD": f.std(),
        "SF": np.sqrt((np.diff(f, axis=0) ** 2).mean() + (np.diff(f, axis=1) ** 2).mean()),
        "AG": np.sqrt((gx**2 + gy**2) / 2).mean(),
        "MI": shared,
        "MI2": shared / np.log(2),
        "SCD": r(f - b, a) + r(f - a, b),
        "CC": (r(f, a) + r(f, b)) / 2,
        "PSNR": 10 * np.log10(f.max() ** 2 / (((f - a) ** 2).mean() + ((f - b) ** 2).mean()) * 2),
    }
    assert got == pytest.approx(got | expected, rel=1e-5)


@few
@given(st.integers(0, 99))
def test_sources_may_change_places(seed):
    fused, infrared, visible = (textured(seed + k) for k in range(3))
    one, other = evaluate_fused(fused, infrared, visible), evaluate_fused(fused, visible, infrared)
    for name in SOURCES:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-5, err_msg=name)


@few
@given(st.integers(0, 99))
def test_a_copy_of_both_sources_is_perfect(seed):
    x = textured(seed)
    got = evaluate_fused(x, x, x)
    expected = {"VIF": 2, "SSIM": 1, "SSIMc": 2, "MSSSIM": 1, "CC": 1, "SCD": 0, "PSNR": np.inf}
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(got["MI"], 2 * np.log(2) * got["EN"], rtol=1e-5)
    assert 0.97 < float(got["Qabf"][0]) < 0.9873


@few
@given(st.integers(0, 255), st.integers(0, 255))
def test_flat_images_give_numbers(fused, source):
    flat, other = jnp.full(SHAPE, float(fused)), jnp.full(SHAPE, float(source))
    for images in ((flat, other, other), (flat, textured(1), other), (textured(1), flat, other)):
        for name, value in evaluate_fused(*images).items():
            assert not np.isnan(value).any(), (name, fused, source)
    got = evaluate_fused(flat, other, other)
    for name in ("EN", "SD", "SF", "AG", "MI", "SCD", "CC", "VIF"):
        np.testing.assert_allclose(got[name], 0, atol=1e-4, err_msg=name)


def test_padding_does_not_count():
    images = [jnp.concatenate([textured(seed), textured(seed + 9, 30, 90)]) for seed in range(3)]
    pad = lambda x, value: jnp.pad(x, ((0, 0), (0, 21), (0, 12)), constant_values=value)  # noqa: E731
    mask = pad(jnp.ones(images[0].shape, bool), False)
    plain = evaluate_fused(*images)
    padded = evaluate_fused(
        *(pad(x, value) for x, value in zip(images, (250, 3, jnp.nan), strict=True)), mask
    )
    for name in plain:
        np.testing.assert_allclose(padded[name], plain[name], rtol=2e-6, err_msg=name)


def test_too_small_an_image_is_named():
    with pytest.raises(ValueError, match="smaller"):
        evaluate_fused(*[jnp.zeros((1, 40, 40))] * 3)


def test_reference_psnr():
    x = jax.random.uniform(jax.random.key(0), (2, 8, 9, 3))
    np.testing.assert_allclose(psnr(x, x + 0.1), 20, rtol=1e-4)
    np.testing.assert_allclose(psnr(255 * x, 255 * x + 25.5, data_range=255), 20, rtol=1e-4)
    assert np.isinf(psnr(x, x)).all()
