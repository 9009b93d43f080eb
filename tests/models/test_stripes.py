"""What is found of stripes, against a loop over the pixels, and on padded images."""

import numpy as np

from lure_jax.models.stripes import ACROSS, ALONG, BLOCK, LARGEST, stripe_offsets

RNG = np.random.default_rng(0)


def test_columns_agree_with_a_loop():
    luma = RNG.random((24, 40)) * 0.2
    found = stripe_offsets(luma[None].astype(np.float32), None, 1)[0, ..., 0]
    away = np.zeros_like(luma)
    for y, x in np.ndindex(luma.shape):
        beside = luma[y, max(0, x - ACROSS) : x + ACROSS + 1]
        away[y, x] = np.clip((luma[y, x] - beside.mean()) / LARGEST, -1, 1)
    for y in range(0, 24, 5):
        block = y // BLOCK
        window = away[max(0, block - ALONG) * BLOCK : (block + ALONG + 1) * BLOCK]
        np.testing.assert_allclose(found[y], window.mean(0), atol=1e-5)


def test_rows_are_the_columns_of_the_turned_image():
    luma = RNG.random((1, 48, 32), np.float32)
    found, turned = (stripe_offsets(a, None, 1)[0] for a in (luma, luma.transpose(0, 2, 1)))
    np.testing.assert_allclose(found[..., 1], turned[..., 0].T, atol=1e-6)


def test_a_stride_puts_the_columns_and_rows_of_a_place_side_by_side():
    luma = RNG.random((1, 16, 24), np.float32)
    fine, coarse = (stripe_offsets(luma, None, stem)[0] for stem in (1, 2))
    assert coarse.shape == (8, 12, 4)
    for k in range(2):
        np.testing.assert_allclose(coarse[..., k], fine[::2, k::2, 0], atol=1e-6)
        np.testing.assert_allclose(coarse[..., 2 + k], fine[k::2, ::2, 1], atol=1e-6)


def test_stripes_are_found_where_the_scene_is_another_every_pixel():
    stripes = 0.02 * RNG.standard_normal(64)
    luma = 0.5 + stripes + 0.04 * RNG.standard_normal((256, 64))
    found = np.asarray(stripe_offsets(luma[None].astype(np.float32), None, 1)[0, 128, :, 0]) * LARGEST
    inside = slice(ACROSS, -ACROSS)
    expected = stripes - np.convolve(stripes, np.ones(2 * ACROSS + 1) / (2 * ACROSS + 1), "same")
    assert np.corrcoef(found[inside], expected[inside])[0, 1] > 0.97  # a single pixel: 0.4
    assert np.abs(np.asarray(stripe_offsets(np.full((1, 64, 64), 0.5, np.float32), None, 1))).max() < 1e-6


def test_padding_does_not_count():
    luma = RNG.random((1, 24, 40), np.float32)
    padded = np.pad(luma, ((0, 0), (0, 16), (0, 24)))
    mask = np.pad(np.ones((1, 24, 40, 1), np.float32), ((0, 0), (0, 16), (0, 24), (0, 0)))
    found, within = stripe_offsets(luma, None, 2), stripe_offsets(padded, mask, 2)[:, :12, :20]
    np.testing.assert_allclose(within, found, atol=1e-6)
