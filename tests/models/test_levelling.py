"""Offsets of columns and rows: known ones, robustness, padding, and what the layer starts as."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lure_jax.models.levelling import ACROSS, SKIPPED, Levelling, differences

RNG = np.random.default_rng(0)


def striped(height=64, width=96):
    offsets = RNG.normal(0, 0.02, width)
    return (0.5 + offsets[None] + RNG.normal(0, 0.002, (height, width)))[None].astype(np.float32), offsets


def local_mean(values, reach):
    padded = np.pad(values, reach, constant_values=np.nan)
    return np.nanmean(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1), -1)


def test_known_offsets_are_found():
    gray, offsets = striped()
    found = differences(jnp.asarray(gray), None)[0]
    for index, reach in enumerate(ACROSS):
        np.testing.assert_allclose(found[:, index], offsets - local_mean(offsets, reach), atol=1.5e-3)


def test_an_object_in_some_rows_is_not_a_stripe():
    gray, offsets = striped()
    gray[:, 10:30, 40:60] += 0.3
    found = differences(jnp.asarray(gray), None)[0, :, SKIPPED]
    np.testing.assert_allclose(found, offsets - local_mean(offsets, ACROSS[SKIPPED]), atol=4e-3)
    assert np.abs(np.mean(gray[0] - gray[0].mean(1, keepdims=True), 0)).max() > 0.05  # which a mean takes for one


def test_padding_does_not_count():
    gray, _ = striped()
    beyond = ((0, 0), (0, 16), (0, 32))
    mask = np.pad(np.ones_like(gray), beyond)[..., None]
    found = differences(np.pad(gray, beyond, constant_values=1), mask)
    np.testing.assert_allclose(found[:, :96], differences(jnp.asarray(gray), None), atol=1e-5)
    assert not np.any(found[:, 96:])


def levelled(image, *shares):
    """What is added to an image, by the given shares of columns and rows; none: as the layer begins."""
    module = Levelling()
    params = nn.unbox(module.init(jax.random.key(0), image))
    if shares:
        params["params"]["share"]["bias"] = jnp.array(shares)
    return np.asarray(module.apply(params, image))


def test_padding_does_not_count_in_the_layer():
    gray, _ = striped(48, 64)
    image, module = np.repeat(gray[..., None], 3, -1), Levelling()
    params = nn.unbox(module.init(jax.random.key(0), image))
    params = jax.tree.map(lambda p: p + 0.1 * RNG.standard_normal(p.shape).astype(np.float32), params)
    beyond = ((0, 0), (0, 16), (0, 32), (0, 0))
    padded = module.apply(params, np.pad(image, beyond, constant_values=1), np.pad(image[..., :1] * 0 + 1, beyond))
    np.testing.assert_allclose(padded[:, :48, :64], module.apply(params, image), atol=1e-5)
    assert not np.any(padded[:, 48:]) and not np.any(padded[:, :, 64:])


def test_the_layer_begins_at_nought_and_takes_shares_of_both_offsets_away():
    gray, _ = striped(64, 72)
    image = jnp.asarray(np.repeat(gray[..., None], 3, -1))
    assert not np.any(levelled(image))
    columns = differences(jnp.asarray(gray), None)[0, :, SKIPPED]
    rows = differences(jnp.asarray(gray.swapaxes(1, 2)), None)[0, :, SKIPPED]
    expected = -(columns[None] + 0.5 * rows[:, None])[None, ..., None].repeat(3, -1)
    np.testing.assert_allclose(levelled(image, 1.0, 0.5), expected, atol=1e-5)


def test_turning_the_image_turns_the_offsets():
    gray, _ = striped(48, 64)
    image = jnp.asarray(np.repeat(gray[..., None], 3, -1))
    columns, rows = levelled(image, 1.0, 0.0), levelled(image.swapaxes(1, 2), 0.0, 1.0)
    assert np.abs(columns).max() > 0.01
    np.testing.assert_allclose(columns, rows.swapaxes(1, 2), atol=1e-5)
