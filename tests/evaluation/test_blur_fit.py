"""What tells a blur is fitted on spectra of known blurs: what it then finds, and that a run starts with it."""

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from lure_jax.data.kernels import disc_kernel, shift_sum
from lure_jax.evaluation import blur_fit
from lure_jax.models.levelling import Levelling
from lure_jax.models.sharpening import RADIUS, BlurKernel, Sharpening, log_spectrum


def textured(rng, radius=None):
    """White noise in 8 bits, blurred by a disc."""
    image = rng.random((64, 64, 1)).astype(np.float32)
    blurred = image if radius is None else shift_sum(image, disc_kernel(radius))
    return np.round(255 * blurred[..., 0]) / np.float32(255)


def seen(count, seed):
    rng = np.random.default_rng(seed)
    radii = rng.uniform(1.2, 3.5, count)
    clear = rng.random(count) < 0.3
    images = np.stack([textured(rng, None if none else r) for r, none in zip(radii, clear, strict=True)])
    told = np.zeros((count, 5), np.float32)
    told[:, 0] = np.where(clear, 0, (radii - RADIUS[0]) / RADIUS[1])
    kinds = np.where(clear, blur_fit.NONE, blur_fit.DISC)
    return blur_fit.Seen(np.asarray(log_spectrum(jnp.asarray(images), None)), kinds, told)


def test_radii_of_unseen_images_are_found(monkeypatch):
    monkeypatch.setattr(blur_fit, "STEPS", 1500)
    params = blur_fit.fit(seen(600, 0), seed=0)
    unseen = seen(100, 1)
    answer = np.asarray(BlurKernel().apply({"params": params}, unseen.spectra))
    assert (answer[:, :3].argmax(1) == unseen.kinds).all()
    disc = unseen.kinds == blur_fit.DISC
    assert np.abs(answer - np.pad(unseen.told, ((0, 0), (3, 0))))[disc, 3].mean() < 0.1  # of 0.6 by the mean radius


def test_the_same_samples_and_seed_give_the_same_kernels(monkeypatch):
    monkeypatch.setattr(blur_fit, "STEPS", 20)
    fits = [blur_fit.fit(seen(60, 0), seed) for seed in (0, 0, 1)]
    jax.tree.map(np.testing.assert_array_equal, *fits[:2])
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, fits[1:]), strict=True))


def test_what_is_collected_are_spectra_of_blurred_crops(recipe):
    found = blur_fit.collect(recipe)
    assert found.spectra.shape == (24, 312) and found.told.shape == (24, 5)
    assert set(found.kinds) == {blur_fit.LINE, blur_fit.DISC, blur_fit.NONE}
    direction = np.hypot(found.told[:, 2], found.told[:, 3])
    np.testing.assert_allclose(direction, found.kinds == blur_fit.LINE, atol=1e-6)
    high = found.spectra.reshape(-1, 24, 13)[:, 8:16, 8:].mean((1, 2))
    assert high[found.kinds == blur_fit.NONE].mean() > high[found.kinds == blur_fit.DISC].mean() + 1
    jax.tree.map(np.testing.assert_array_equal, found, blur_fit.collect(recipe))


def test_more_noise_asks_for_more_caution():
    rng = np.random.default_rng(0)
    sharp = np.stack([textured(rng, 1.0)] * 2)
    blurred = np.stack([shift_sum(image[..., None], disc_kernel(2.0))[..., 0] for image in sharp])
    blurred[1] += rng.normal(0, 0.04, blurred[1].shape)
    told = np.zeros((2, 4), np.float32)
    told[:, 0] = (2 - RADIUS[0]) / RADIUS[1]
    little, much = blur_fit._best_noise(sharp, blurred, np.full(2, blur_fit.DISC), told)
    assert much > little + 2


def test_a_run_starts_with_what_was_fitted(recipe, monkeypatch):
    monkeypatch.setattr(blur_fit, "STEPS", 5)

    def init(key):
        image = jnp.zeros((1, 48, 48, 3))
        parts = {"sharpening": Sharpening(), "levelling": Levelling()}
        return {"encoder": {name: part.init(key, image)["params"] for name, part in parts.items()}, "text": {}}

    started = blur_fit.starting(init, recipe)
    plain, fitted = (jax.jit(f)(jax.random.key(0)) for f in (init, started))
    assert jax.tree.structure(plain) == jax.tree.structure(fitted)  # boxes and all
    plain, fitted = (flatten_dict(jax.device_get(tree), sep="/") for tree in map(_unboxed, (plain, fitted)))
    differing = {path for path in plain if not np.array_equal(plain[path], fitted[path])}
    assert differing and all(path.startswith("encoder/sharpening/blur/") for path in differing)
    expected = blur_fit.fit(blur_fit.collect(recipe), recipe.seed)["answer"]["kernel"]
    np.testing.assert_array_equal(fitted["encoder/sharpening/blur/answer/kernel"], expected)
    without = recipe.copy_and_resolve_references()
    without.blur_kernel.samples = 0
    assert blur_fit.starting(init, without) is init


def _unboxed(tree):
    return jax.tree.map(lambda box: box.unbox() if hasattr(box, "unbox") else box, tree, is_leaf=blur_fit._is_box)
