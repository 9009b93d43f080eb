"""The consistency losses against closed forms, and who receives a gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from lure_jax.objectives import augmentation, consistency
from lure_jax.objectives.augmentation import Window

K = 4


def logits(seed=0, size=(2, 6, 5)):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(*size, K)), jnp.float32)


def sure(answer, size=(2, 6, 5)):
    """Heads that are certain: one cluster a pixel, or one for all of them."""
    return 50.0 * jax.nn.one_hot(jnp.broadcast_to(answer, size), K)


def halves():
    return jnp.where(jnp.arange(6)[None, :, None] < 3, 0, 1)


def test_cross_loss_by_hand_and_at_its_ends():
    a, b = logits(0), logits(1)
    log_a, log_b = (np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True)) for x in (np.asarray(a), np.asarray(b)))
    hard_a, hard_b = (np.asarray(x).argmax(-1)[..., None] for x in (a, b))
    expected = -0.5 * (np.take_along_axis(log_a, hard_b, -1).mean() + np.take_along_axis(log_b, hard_a, -1).mean())
    np.testing.assert_allclose(consistency.cross_loss(a, b), expected / np.log(K), rtol=1e-5)
    assert consistency.cross_loss(sure(1), sure(1)) < 1e-6
    np.testing.assert_allclose(consistency.cross_loss(jnp.zeros_like(a), jnp.zeros_like(a)), 1, rtol=1e-6)


def test_balanced_answers_are_what_speaks_for_a_cluster_more_than_usual():
    """Cluster 0 is everywhere the most probable; the halves differ in clusters 1 and 2 alone."""
    small = 0.3 * jax.nn.one_hot(jnp.broadcast_to(1 + halves(), (2, 6, 5)), K)
    a = small.at[..., 0].add(2.0)
    assert not np.any(a.argmax(-1))
    confident = sure(1 + jnp.broadcast_to(halves(), (2, 6, 5)))
    one_sided = jax.grad(lambda x: consistency.cross_loss(x, a, 1.0))(confident)
    assert np.abs(one_sided).max() < 1e-6  # the answers of `a` are the halves
    assert np.abs(jax.grad(lambda x: consistency.cross_loss(x, a, 0.0))(confident)).max() > 1e-3
    flat = jnp.zeros((2, 6, 5, K))
    np.testing.assert_allclose(consistency.cross_loss(flat, flat, 1.0), 1, rtol=1e-5)


def test_a_constant_answer_is_what_entropy_forbids():
    assert consistency.cross_loss(sure(2), sure(2)) < 1e-6  # L_x alone is content with it
    np.testing.assert_allclose(consistency.entropy_loss(sure(2), sure(2)), 1, atol=1e-6)
    np.testing.assert_allclose(consistency.entropy_loss(sure(halves()), sure(halves())), 0.5, atol=1e-6)
    np.testing.assert_allclose(consistency.entropy_loss(jnp.zeros((1, 2, 2, K)), jnp.zeros((1, 2, 2, K))), 0, atol=1e-6)


def test_marginals_are_over_the_whole_batch():
    one_each = jnp.concatenate([sure(k, (1, 3, 3)) for k in range(K)])  # each image constant, the batch uniform
    np.testing.assert_allclose(consistency.entropy_loss(one_each, one_each), 0, atol=1e-5)


def test_equivariance_counts_valid_pixels_alone():
    changed, target = sure(halves()), jax.nn.softmax(sure(0))
    inside = jnp.broadcast_to(halves() == 0, (2, 6, 5)).astype(jnp.float32)
    assert consistency.equivariance_loss(changed, target, inside) < 1e-6
    np.testing.assert_allclose(consistency.equivariance_loss(changed, target, 1 - inside), 50 / np.log(K), rtol=1e-3)
    gradient = jax.grad(consistency.equivariance_loss, argnums=1)(changed, target, inside)
    assert not np.any(gradient)


def test_smoothness_is_free_where_the_image_has_an_edge():
    flat = jnp.full((2, 24, 20, 3), 0.5)
    edge = jnp.where(jnp.arange(24)[None, :, None, None] < 12, 0.0, 1.0) * jnp.ones((2, 24, 20, 3))
    assert consistency.smoothness_loss(sure(0), flat) < 1e-6
    np.testing.assert_allclose(consistency.smoothness_loss(sure(halves()), flat), 2 / 5, rtol=1e-5)
    assert consistency.smoothness_loss(sure(halves()), edge) < 0.01
    assert not np.any(jax.grad(lambda image: consistency.smoothness_loss(logits(), image))(edge))


def window(share=1.0, top=0.0, left=0.0, flip=False):
    return Window(*(jnp.full((2,), value) for value in (share, top, left)), jnp.full((2,), flip))


def test_the_whole_window_is_the_image_and_flips_mirror_it():
    x = logits(3)
    same, inside = augmentation.warp(x, window())
    np.testing.assert_allclose(same, x, atol=1e-5)
    assert inside.all()
    mirrored, _ = augmentation.warp(x, window(flip=True))
    np.testing.assert_allclose(mirrored, x[:, :, ::-1], atol=1e-5)


def test_a_window_is_the_same_place_at_every_stride():
    """A linear picture, warped and then reduced, is the reduced one warped; outside the mask it may not be."""
    y, x = np.mgrid[:32, :48] + 0.5
    plane = jnp.asarray(np.stack([y / 32, x / 48], -1)[None].repeat(2, 0), jnp.float32)
    small = plane.reshape(2, 8, 4, 12, 4, 2).mean((2, 4))
    chosen = window(0.6, 0.3, 0.1, True)
    large, inside = augmentation.warp(plane, chosen)
    reduced = large.reshape(2, 8, 4, 12, 4, 2).mean((2, 4))
    warped, valid = augmentation.warp(small, chosen)
    assert inside.mean() > 0.9 and 0.6 < valid.mean() <= 1
    np.testing.assert_allclose(np.asarray(warped)[valid > 0], np.asarray(reduced)[valid > 0], atol=1e-5)
    np.testing.assert_allclose(large[0, 0, 0], [0.3 + 0.6 * 0.5 / 32, 0.1 + 0.6 * 47.5 / 48], atol=1e-5)


def test_drawn_windows_lie_inside_and_differ():
    drawn = augmentation.draw_window(jax.random.key(0), 64)
    assert drawn.share.min() >= augmentation.SMALLEST and drawn.share.max() <= 1
    for start in (drawn.top, drawn.left):
        assert start.min() >= 0 and (start + drawn.share).max() <= 1 + 1e-6 and np.std(start) > 0.05
    assert 16 < drawn.flip.sum() < 48


def test_photometric_changes_stay_in_range_and_keep_finite_gradients():
    image = jnp.asarray(np.random.default_rng(0).random((3, 8, 8, 1)), jnp.float32).at[:, 0].set(0)
    changed = augmentation.photometric(jax.random.key(1), image)
    assert changed.min() >= 0 and changed.max() <= 1 and 0.02 < np.abs(changed - image).mean() < 0.4
    gradient = jax.grad(lambda x: augmentation.photometric(jax.random.key(1), x).sum())(image)
    assert np.isfinite(gradient).all()


def test_photometric_changes_brightness_and_contrast_image_by_image():
    one = 0.3 + 0.4 * jnp.linspace(0, 1, 64)[None, None, :, None]
    changed = augmentation.photometric(jax.random.key(2), jnp.repeat(jnp.tile(one, (1, 16, 1, 1)), 128, 0))
    means, spreads = changed.mean((1, 2, 3)), changed.std((1, 2, 3))
    assert np.std(means) > 0.1 and means.min() < 0.3 < 0.7 < means.max()
    assert spreads.min() < 0.6 * one.std() and spreads.max() > 1.5 * one.std()
    columns = changed.mean((1, 3))
    assert np.mean(columns[:, 40:].mean(1) > columns[:, :24].mean(1)) == 1  # what was brighter stays so
