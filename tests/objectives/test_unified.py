"""The unified loss against its formulas in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.objectives import unified
from lure_jax.text.conditions import CONDITIONS, condition_id, multi_hot


def latents(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(1, (0.1, 1, 5), (4, 6, 5, 3)).astype(np.float32) for _ in range(2)]


def test_distance_is_standardised_by_the_clean_batch():
    a, b = latents()
    expected = np.mean(np.abs(a - b) / (b.std((0, 1, 2)) + 1e-3))
    np.testing.assert_allclose(unified.latent_distance(a, b), expected, rtol=1e-5)
    scale = np.array([7, 0.3, 20], np.float32)  # a channel's unit does not matter
    np.testing.assert_allclose(unified.latent_distance(a * scale, b * scale), expected, rtol=5e-3)


def test_statistics_distance_ignores_where_in_the_image():
    a, b = latents()
    shuffled = np.random.default_rng(1).permutation(b.reshape(4, 30, 3), axis=1).reshape(b.shape)
    assert unified.latent_statistics_distance(shuffled, b) < 1e-4 < unified.latent_statistics_distance(a, b)
    scale = b.std((0, 1, 2)) + 1e-3
    n_a, n_b = a / scale, b / scale
    expected = np.mean(
        np.abs(n_a.mean((1, 2)) - n_b.mean((1, 2))) + np.abs(n_a.std((1, 2)) - n_b.std((1, 2)))
    )  # fmt: skip
    np.testing.assert_allclose(unified.latent_statistics_distance(a, b), expected, rtol=1e-4)


@pytest.mark.parametrize("distance", [unified.latent_distance, unified.latent_statistics_distance])
def test_the_clean_side_receives_no_gradient(distance):
    a, b = latents()
    np.testing.assert_array_equal(jax.grad(distance, argnums=1)(a, b), 0)
    assert np.abs(jax.grad(distance)(a, b)).max() > 0


def test_image_loss_of_equal_and_different_images():
    x = np.random.default_rng(0).random((2, 16, 16, 3)).astype(np.float32)
    assert abs(unified.image_loss(x, x)) < 1e-5
    assert unified.image_loss(x, 1 - x) > np.abs(2 * x - 1).mean()  # the L1 term alone, and dissimilar on top


def test_condition_loss_asks_only_for_the_own_modality():
    noise, stripe = condition_id("visible", "noise"), condition_id("infrared", "stripe")
    target = jnp.asarray(np.stack([multi_hot([noise]), multi_hot([stripe])]))
    modality = jnp.array([0, 1])
    logits = jnp.where(target > 0, 20.0, -20.0)
    assert unified.condition_loss(logits, target, modality) < 1e-6
    foreign = jnp.array([[c.modality == "infrared" or c.name == "clean" for c in CONDITIONS],
                         [c.modality == "visible" or c.name == "clean" for c in CONDITIONS]])  # fmt: skip
    assert unified.condition_loss(jnp.where(foreign, 20.0, logits), target, modality) < 1e-6
    wrong = logits.at[0, noise].set(-20.0)  # 20 nats, over the 7 + 4 answers asked for
    np.testing.assert_allclose(unified.condition_loss(wrong, target, modality), 20 / 11, rtol=1e-4)


def test_psnr_closed_form():
    x = np.full((2, 8, 8, 3), 0.5, np.float32)
    np.testing.assert_allclose(unified.psnr(x + 0.1, x), 20, atol=1e-3)
    np.testing.assert_allclose(unified.psnr(x + 3, x), -20 * np.log10(0.5), atol=1e-3)  # clipped to 1 first


def test_ramp_is_reached_after_a_tenth():
    lam = unified.ramp(1000, 0.1)
    np.testing.assert_allclose([lam(0), lam(50), lam(100), lam(900)], [0, 0.05, 0.1, 0.1], atol=1e-7)


def test_what_is_interleaved_is_separated_again():
    first, second = (np.random.default_rng(seed).random((3, 2, 4), np.float32) for seed in (0, 1))
    together = unified.interleave(first, second)
    np.testing.assert_array_equal(together[:4], np.stack([first[0], second[0], first[1], second[1]]))
    for one, other in zip(unified.separate(together), (first, second), strict=True):
        np.testing.assert_array_equal(one, other)
