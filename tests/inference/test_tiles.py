"""Tiles cover an image, agree with each other, and with the image as a whole."""

import math
import pathlib

import numpy as np
import pytest
from PIL import Image
from random_model import save_random_model

from lure_jax.errors import UserError
from lure_jax.inference import buckets, tiles
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.weights import load
from lure_jax.models import sizes, two_stream
from lure_jax.models.scene_statistics import scene_statistics

IMAGES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "images"
SIZES = [(960, 1280), (2001, 3003), (257, 5000), (100, 3000), (4000, 300)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pixels", [320 * 320, 640 * 480])
def test_tiles_cover_the_image_and_overlap(size, pixels):
    plan = tiles.plan(size, pixels, 8)
    assert math.prod(plan.tile) <= pixels and not any(side % 8 for side in plan.tile)
    for starts, side, full in zip(plan[1:], plan.tile, size, strict=True):
        assert starts[0] == 0 and starts[-1] + side >= full and not any(start % 8 for start in starts)
        shared = [before + side - after for before, after in zip(starts, starts[1:], strict=False)]
        assert all(tiles.OVERLAP - 16 <= overlap <= side // 2 for overlap in shared)


@pytest.mark.parametrize("size", SIZES)
def test_shares_of_measured_tiles_add_up_to_one_in_every_pixel(size):
    plan, seen = tiles.plan(size, 320 * 320, 8), np.zeros(size)
    for rows, columns, share in tiles.places(plan, size):
        assert not rows.start % 8 and not columns.start % 8
        weighed = tiles.weigh(buckets.pixel_mask(1, share.shape, plan.tile, 8), share)[0]
        assert (weighed[: len(share), : share.shape[1]] > 0).all() and (weighed >= 0).all()
        seen[rows, columns] += weighed[: len(share), : share.shape[1]]
    np.testing.assert_allclose(seen, 1, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_blended_tiles_of_an_image_are_the_image(size):
    image = np.random.default_rng(0).random((*size, 2), np.float32)
    plan = tiles.plan(size, 320 * 320, 8)
    parts = list(tiles.blend(plan, size, lambda rows, columns: image[rows, columns]))
    assert [rows.start for rows, _ in parts] == [0, *(rows.stop for rows, _ in parts[:-1])]
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), image, atol=1e-6)


def test_a_tile_does_not_show_its_own_border():
    """What the network makes of the border inside the image is wrong; a quarter of the overlap hides it."""
    size, plan = (300, 900), tiles.plan((300, 900), 300 * 400, 8)

    def spoilt(rows, columns):
        tile = np.zeros((rows.stop - rows.start, columns.stop - columns.start, 1), np.float32)
        if columns.start:
            tile[:, :20] = 1
        if columns.stop < 900:
            tile[:, -20:] = 1
        return tile

    assert len(plan.lefts) > 1
    assert max(part.max() for _, part in tiles.blend(plan, size, spoilt)) == 0


def test_statistics_of_parts_become_those_of_the_whole():
    values = np.random.default_rng(0).normal(3, 2, (1, 100, 4))
    parts = [values[:, :30], values[:, 30:]]
    squares = [(part**2).sum(1) for part in parts]
    measured = [
        {"a": {"moments_0": np.stack([part.mean(1), part.var(1)], 1), "b": {"sums": (square, square)}}}
        for part, square in zip(parts, squares, strict=True)
    ]
    pooled = tiles.pool(measured, [30.0, 70.0])["a"]
    np.testing.assert_allclose(pooled["moments_0"], np.stack([values.mean(1), values.var(1)], 1), rtol=1e-5)
    np.testing.assert_allclose(pooled["b"]["sums"][1], (values**2).sum(1), rtol=1e-6)


def test_extremes_and_distribution_of_parts_become_those_of_the_whole():
    image = np.random.default_rng(0).random((1, 64, 128, 3), np.float32)
    image[:, 8:16, 8:16], image[:, 40:48, 100:108] = 0, 1
    measured = [{"scene": np.asarray(scene_statistics(part, None))} for part in (image[:, :, :48], image[:, :, 48:])]
    pooled = tiles.pool(measured, [48.0, 80.0])["scene"][0]
    whole = np.asarray(scene_statistics(image, None))[0]
    np.testing.assert_array_equal(pooled[-2:], (0, 1))
    np.testing.assert_allclose(pooled[40:], whole[40:], atol=1e-5)


def test_a_thinned_image_keeps_its_noise():
    noise = np.random.default_rng(0).normal(0, 20, (500, 700)).astype(np.float32)
    thin = tiles.thin(noise, 200 * 200)
    assert 0.9 * 200 * 200 < thin.size <= 200 * 200
    assert thin.std() == pytest.approx(20, rel=0.02) and np.isin(thin, noise).all()
    assert tiles.thin(noise, 10**9) is not None and tiles.thin(noise, 10**9).shape == noise.shape


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("1.5 gb", 15 * 10**8), ("800MB", 8 * 10**8), ("3G", 3 * 10**9), (5 * 10**9, 5 * 10**9)],
)
def test_memory_as_people_write_it(text, size):
    assert tiles.read_memory(text) == size


@pytest.mark.parametrize(("memory", "message"), [("much", "'much' is no size"), ("0GB", "no size"), ("1MB", "needs")])
def test_a_memory_that_is_none_is_one_sentence(memory, message):
    with pytest.raises(UserError, match=message):
        tiles.affordable_pixels(memory, "lure", "tiny")


def test_what_holds_the_image_is_taken_from_the_tiles():
    afforded = tiles.affordable_pixels("2GB", "lure", "tiny")
    left = tiles.beside_image(afforded, (4000, 5000), "lure", "tiny")
    held = (afforded - left) * tiles.BYTES_PER_PIXEL["lure", "tiny"]
    assert held == pytest.approx(20e6 * tiles.IMAGE_BYTES, rel=1e-5)
    assert tiles.beside_image(afforded, (100_000, 100_000), "lure", "tiny") == tiles.SMALLEST**2


def test_every_preset_has_its_memory_measured():
    presets = {("lure", name) for name in sizes.PRESETS} | {("two_stream", name) for name in two_stream.PRESETS}
    assert set(tiles.BYTES_PER_PIXEL) == presets


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return load(save_random_model(tmp_path_factory.mktemp("tiles") / "model"))


def test_an_image_given_its_own_statistics_is_as_without_and_with_anothers_is_not(released):
    fuser = Fuser(released)
    rng = np.random.default_rng(0)
    frames = {"visible": rng.random((64, 96, 3), np.float32), "infrared": rng.random((64, 96), np.float32)}
    prompt = fuser.read_prompt("auto")
    ((_, own),), statistics = fuser.parts(frames, prompt, measure=True)
    ((_, again),), none = fuser.parts(frames, prompt, given=statistics)
    np.testing.assert_allclose(again, own, atol=1e-5)
    dark = {modality: 0.2 * frame for modality, frame in frames.items()}
    ((_, other),), _ = fuser.parts(dark, prompt, given=statistics)
    ((_, alone),), _ = fuser.parts(dark, prompt)
    assert np.abs(other - alone).mean() > 1e-3 and none == {}


def _scene(size):
    pair = []
    for name, mode in (("visible", "RGB"), ("infrared", "L")):
        pair.append(np.asarray(Image.open(IMAGES / f"{name}.png").convert(mode).resize(size[::-1])))
    return pair


@pytest.mark.slow
@pytest.mark.parametrize(
    "condition, prompt, most", [("clean", "auto", 0.5), ("noise", "auto", 0.5), ("low light", "dark", 1.5)]
)
def test_the_tiled_result_is_that_of_the_whole_image(condition, prompt, most):
    visible, infrared = _scene((320, 520))
    if condition == "low light":
        visible = (visible * 0.15).astype(np.uint8)
    if condition == "noise":
        rng = np.random.default_rng(0)
        visible, infrared = (
            np.clip(image + rng.normal(0, 20, image.shape), 0, 255).astype(np.uint8) for image in (visible, infrared)
        )
    whole, tiled = Fuser.load("lure_tiny"), Fuser.load("lure_tiny", memory=_memory_for(320 * 320))
    one, other = (fuser.fuse(visible, infrared, prompt).astype(float) for fuser in (whole, tiled))
    assert len(tiles.plan((320, 520), 320 * 320, 8).lefts) > 1
    difference = np.abs(one - other)
    assert 0 < difference.mean() < most and difference.max() < 6


def _memory_for(pixels):
    return tiles.BASE_BYTES + pixels * tiles.BYTES_PER_PIXEL["lure", "tiny"]


def test_batches_alpha_and_thermal_frames_go_through_tiles(released):
    rng = np.random.default_rng(0)
    tiled = Fuser(released, memory=_memory_for(320 * 320))
    whole = Fuser(released)
    visible = rng.integers(0, 65535, (2, 320, 520, 4), np.uint16)
    infrared = rng.normal(8000, 60, (2, 320, 520, 1)).astype(np.uint16)
    other = tiled.fuse(visible, infrared, "clean")
    one = np.stack([whole.fuse(*pair, "clean") for pair in zip(visible, infrared, strict=True)])
    assert other.dtype == np.uint16 and other.shape == visible.shape
    np.testing.assert_array_equal(other[..., 3], visible[..., 3])
    assert np.abs(one[..., :3].astype(float) - other[..., :3]).mean() < 65535 / 100
