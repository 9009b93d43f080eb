"""The Fuser through a whole network of random weights."""

import jax
import numpy as np
import pytest
from random_model import save_random_model
from scipy.ndimage import gaussian_filter

from lure_jax.data import tonemap
from lure_jax.inference import passes, tiles
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.prompt import SLOTS, read_prompt
from lure_jax.inference.weights import load
from lure_jax.metrics.color import rgb_to_ycbcr
from lure_jax.text.conditions import condition_id

PASSES = (passes._describe, passes._lift, passes._decode)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return load(save_random_model(tmp_path_factory.mktemp("fuser") / "model"))


@pytest.fixture(scope="module")
def fuser(released):
    return Fuser(released, sizes=[(64, 96)])


def _pair(height, width, seed=0, batch=None):
    rng = np.random.default_rng(seed)
    shape = (height, width) if batch is None else (batch, height, width)
    return rng.random((*shape, 3), np.float32), rng.random((*shape, 1), np.float32)


@pytest.fixture(scope="module")
def unpadded(released):
    """The network as it stands in training: no mask, no bucket."""

    @jax.jit
    def run(params, visible, infrared, visible_ids, infrared_ids):
        def call(model):
            text = model.tokens(visible_ids), model.tokens(infrared_ids)
            return model(visible, infrared, *text).image

        return released.model.apply({"params": params}, method=call)

    def fuse(visible, infrared, prompt):
        read = read_prompt(prompt)
        return run(released.params, visible[None], infrared[None], read.visible[None], read.infrared[None])[0]

    return fuse


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 50), (40, 96), (64, 96)])
def test_padded_is_unpadded(fuser, unpadded, size):
    visible, infrared = _pair(*size)
    padded = fuser.fuse(visible, infrared, "dark and noisy, the thermal has stripes")
    expected = unpadded(visible, infrared, "dark and noisy, the thermal has stripes")
    assert padded.shape == (*size, 3)
    np.testing.assert_allclose(padded, expected, atol=1e-4)


def test_the_random_network_is_no_identity_and_reads_its_prompt(fuser):
    visible, infrared = _pair(64, 96)
    dark, rainy = (fuser.fuse(visible, infrared, prompt) for prompt in ("dark", "rain"))
    assert np.abs(dark - visible).mean() > 0.05 and np.abs(dark - rainy).mean() > 1e-3
    assert ((dark > 0) & (dark < 1)).mean() > 0.8


def test_prompts_and_sizes_of_one_shape_share_one_compilation(released):
    jax.clear_caches()
    fuser = Fuser(released, sizes=[(64, 96)] * 3)
    for size, prompt in [((64, 96), "auto"), ((64, 96), "haze"), ((30, 96), {"visible": "rain and blur and noise"})]:
        fuser.fuse(*_pair(*size), prompt)
    assert [compiled._cache_size() for compiled in (*PASSES, passes._repair)] == [1] * 4  # both modalities share them


def test_a_mixed_folder_costs_at_most_six_compilations(released):
    jax.clear_caches()
    sizes = [(8 * h, 8 * w) for h, w in np.random.default_rng(3).integers(1, 7, (20, 2)).tolist()]
    fuser = Fuser(released, sizes=sizes)
    for size in sizes:
        assert fuser.restore(_pair(*size)[0], "visible", "rain").shape == (*size, 3)
    assert all(1 < compiled._cache_size() <= 6 for compiled in PASSES)


def test_a_batch_equals_single_images(fuser):
    visible, infrared = _pair(40, 50, batch=3)
    together = fuser.fuse(visible, infrared)
    single = [fuser.fuse(v, i) for v, i in zip(visible, infrared, strict=True)]
    np.testing.assert_allclose(together, np.stack(single), atol=2e-5)


def _with_condition_bias(released, biases):
    params = jax.tree.map(np.copy, released.params)
    params["encoder"]["condition"]["answer"]["bias"][:] = -20
    for (modality, name), bias in biases.items():
        params["encoder"]["condition"]["answer"]["bias"][condition_id(modality, name)] = bias
    return Fuser(released._replace(params=params), sizes=[(64, 96)])


def test_auto_says_what_the_condition_head_finds(released):
    sure = {("visible", "haze"): 20, ("visible", "noise"): 22, ("infrared", "stripe"): 20}
    fuser = _with_condition_bias(released, sure)
    visible, infrared = _pair(64, 96)
    auto = fuser.fuse(visible, infrared)
    np.testing.assert_allclose(auto, fuser.fuse(visible, infrared, "haze and noise, thermal has stripes"), atol=1e-5)
    assert np.abs(auto - fuser.fuse(visible, infrared, "clean")).mean() > 1e-3
    found = fuser.detect(visible, "visible")
    assert {name for name, probability in found.items() if probability > 0.99} == {"haze", "noise"}
    restored = fuser.restore(infrared, "infrared")
    np.testing.assert_allclose(restored, fuser.restore(infrared, "infrared", "stripes"), atol=1e-5)


def test_auto_is_clean_where_nothing_is_found_and_may_be_mixed_with_a_sentence(released):
    fuser = _with_condition_bias(released, {})
    pair = _pair(64, 96)
    np.testing.assert_allclose(fuser.fuse(*pair), fuser.fuse(*pair, "clean"), atol=1e-5)
    mixed = fuser.fuse(*pair, {"visible": "rain"})
    np.testing.assert_allclose(mixed, fuser.fuse(*pair, "the visible image has rain"), atol=1e-5)


def test_thresholds_decide(released):
    fuser = _with_condition_bias(released._replace(thresholds=np.full(13, 1.0, np.float32)), {("visible", "haze"): 2})
    pair = _pair(64, 96)
    np.testing.assert_allclose(fuser.fuse(*pair), fuser.fuse(*pair, "clean"), atol=1e-5)


def test_detect_of_a_batch_is_an_array_each(fuser):
    found = fuser.detect(_pair(64, 96, batch=2)[1], "infrared")
    assert set(found) == {"low_contrast", "noise", "stripe", "blur"}
    assert all(p.shape == (2,) and ((0 < p) & (p < 1)).all() for p in found.values())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("shape", [(64, 96, 3), (64, 96, 1), (64, 96)])
def test_the_result_has_the_shape_and_dtype_of_the_visible_image(fuser, dtype, shape):
    rng = np.random.default_rng(0)
    visible, infrared = rng.random(shape), rng.random((64, 96))
    if dtype != np.float64:
        visible = np.round(visible * np.iinfo(dtype).max).astype(dtype)
    fused = fuser.fuse(visible, infrared, "clean")
    assert fused.shape == shape and fused.dtype == dtype
    scale = 1 if dtype == np.float64 else np.iinfo(dtype).max
    reference = fuser.fuse((visible / scale).astype(np.float32), infrared, "clean")
    np.testing.assert_allclose(fused / scale, reference, atol=0.51 / scale if scale > 1 else 1e-6)


def test_inputs_that_do_not_fit_are_one_sentence(fuser):
    visible, infrared = _pair(64, 96)
    cases = [
        (lambda: fuser.fuse(visible, infrared[:-1]), r"\(64, 96, 3\) and the infrared one \(63, 96, 1\)"),
        (lambda: fuser.fuse(visible, infrared * np.nan), "infrared image holds values that are not finite"),
        (lambda: fuser.fuse(visible * 255, infrared), r"floats must lie in \[0, 1\]"),
        (lambda: fuser.restore(visible, "thermal"), "'thermal'; it must be visible or infrared"),
        (lambda: fuser.detect(visible, "both"), "'both'"),
        (lambda: fuser.fuse(visible, infrared, 7), "prompt is 7"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_unknown_words_warn(fuser):
    with pytest.warns(UserWarning, match="flimsy"):
        fuser.fuse(*_pair(64, 96), "a flimsy photo")


def test_the_memory_model_covers_what_the_compiler_plans(released):
    def shape(*sides, dtype=np.float32):
        return jax.ShapeDtypeStruct((1, *sides), dtype)

    model, params, mask = released.model, released.params, shape(256, 256)
    described, _ = jax.eval_shape(lambda *a: passes._describe(model, *a, None, False), params, shape(256, 256, 3), mask)
    latent, _ = jax.eval_shape(
        lambda *a: passes._lift(model, *a, None, False), params, described, shape(SLOTS, dtype=np.int32), mask
    )
    colour = shape(256, 256, 3), jax.ShapeDtypeStruct((1,), np.float32)
    lowered = passes._decode.lower(
        model, params, [latent, latent], colour, mask, None, False
    )  # the pass that needs most
    plan = lowered.compile().memory_analysis()
    needed = plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes
    assert 0.4 < needed / 256**2 / tiles.BYTES_PER_PIXEL["lure", "tiny"] < 1


def test_a_thermal_frame_is_mapped_by_the_curve_that_is_given(released, fuser):
    visible, _ = _pair(64, 96)
    frame = np.random.default_rng(0).normal(8000, 60, (64, 96)).astype(np.uint16)
    curve = tonemap.plateau(frame[:32])
    fused = Fuser(released, sizes=[(64, 96)], tone=curve).fuse(visible, frame)
    np.testing.assert_array_equal(fused, fuser.fuse(visible, curve(frame)))
    assert np.abs(fused - fuser.fuse(visible, frame)).max() > 0


def test_strength_blends_latents_from_clean_to_the_prompt(fuser):
    pair = _pair(64, 96)
    full, none = fuser.fuse(*pair, "haze"), fuser.fuse(*pair, "clean")
    np.testing.assert_array_equal(fuser.fuse(*pair, "haze", strength=1), full)
    np.testing.assert_allclose(fuser.fuse(*pair, "haze", strength=0), none, atol=1e-5)
    half = fuser.fuse(*pair, "haze", strength=0.5)
    assert min(np.abs(half - full).mean(), np.abs(half - none).mean()) > 0.1 * np.abs(full - none).mean() > 1e-4


def test_a_restored_image_at_half_strength_is_the_decoded_mean_of_latents(released, fuser):
    image, read = _pair(64, 96)[1], [read_prompt({"infrared": p}).infrared[None] for p in ("clean", "low contrast")]

    @jax.jit
    def blend(params, ids_clean, ids_prompt):
        def call(model):
            z = [model.encode(image[None], model.tokens(ids)).z for ids in (ids_clean, ids_prompt)]
            return model.decode((z[0] + z[1]) / 2)

        return released.model.apply({"params": params}, method=call)

    expected = np.clip(blend(released.params, *read)[0], 0, 1)
    half = fuser.restore(np.repeat(image, 3, -1), "infrared", "low contrast", strength=0.5)
    np.testing.assert_allclose(half, expected, atol=1e-4)


def test_an_image_is_restored_as_its_repair_leaves_it_where_that_is_all(released):
    params = jax.tree.map(np.copy, released.params)
    params["encoder"]["levelling"]["share"]["bias"][:] = 1
    params["encoder"]["levelling"]["share"]["kernel"][:] = 1e-6
    sure = Fuser(released._replace(params=params))
    image = 0.3 + 0.4 * _pair(64, 96)[1] + 0.1 * np.linspace(-1, 1, 96, dtype=np.float32)[None, :, None] ** 15
    ids = read_prompt({"infrared": "stripes"}).infrared[None]
    repaired = np.asarray(sure._network.repair(image[None], ids, np.ones((1, 64, 96), np.float32)))[0, ..., :1]
    assert np.abs(repaired - image).max() > 0.01
    np.testing.assert_allclose(sure.restore(image, "infrared", "stripes"), repaired, atol=1e-5)
    np.testing.assert_allclose(sure.restore(image, "infrared", "stripes", 0.5), (image + repaired) / 2, atol=1e-5)
    more = sure.restore(image, "infrared", "stripes and low contrast")
    assert np.abs(more - repaired).mean() > 0.01


def test_strengths_below_one_share_one_more_compilation(fuser):
    passes._mix.clear_cache()
    image = _pair(64, 96)[1]
    whole = fuser.restore(image, "infrared", "stripes")
    programs = passes._lift._cache_size()
    for strength in (0, 0.3, 0.9):
        fuser.restore(image, "infrared", "stripes", strength)
    assert passes._mix._cache_size() == 1 and passes._lift._cache_size() == programs
    np.testing.assert_array_equal(fuser.restore(image, "infrared", "stripes", 1.0), whole)
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
            fuser.restore(image, "infrared", "stripes", strength)


def test_a_clean_visible_image_keeps_its_colours_and_a_damaged_one_gets_those_of_the_network(released, unpadded):
    visible, infrared = _pair(64, 96)
    visible = 0.4 + 0.2 * visible
    fuser, prompt = _with_condition_bias(released, {("infrared", "stripe"): 20}), "the thermal has stripes"
    own, network = np.asarray(rgb_to_ycbcr(visible)), np.asarray(unpadded(visible, infrared, prompt))
    expected = np.concatenate([np.asarray(rgb_to_ycbcr(network))[..., :1], own[..., 1:]], -1)
    for asked in (prompt, "auto"):
        fused = fuser.fuse(visible, infrared, asked)
        inside = ((network > 0) & (network < 1) & (fused > 0) & (fused < 1)).all(-1)
        assert inside.mean() > 0.5
        np.testing.assert_allclose(rgb_to_ycbcr(fused)[inside], expected[inside], atol=1e-4)
    hazy = unpadded(visible, infrared, "haze")
    np.testing.assert_allclose(fuser.fuse(visible, infrared, "haze"), hazy, atol=1e-4)
    assert np.abs(np.asarray(rgb_to_ycbcr(hazy)) - own)[..., 1:].mean() > 0.01


def test_a_noisy_visible_image_keeps_the_colours_that_are_left_without_the_noise(released):
    params = jax.tree.map(np.copy, released.params)
    params["encoder"]["shrinking"]["share"][:] = 1
    fuser = Fuser(released._replace(params=params))
    visible, infrared = _pair(64, 96)
    visible = 0.4 + 0.2 * visible
    ids = read_prompt("noisy").visible[None]
    repaired = np.asarray(fuser._network.repair(visible[None], ids, np.ones((1, 64, 96), np.float32)))[0]
    own, left = (np.asarray(rgb_to_ycbcr(image))[..., 1:] for image in (visible, repaired))
    assert np.abs(left - own).mean() > 0.01
    for strength, expected in ((1, left), (0.5, (own + left) / 2)):
        fused = fuser.fuse(visible, infrared, "noisy", strength=strength)
        inside = ((fused > 0) & (fused < 1)).all(-1)
        assert inside.mean() > 0.5
        np.testing.assert_allclose(np.asarray(rgb_to_ycbcr(fused))[inside][:, 1:], expected[inside], atol=1e-4)


def test_the_less_strength_the_more_of_the_visible_images_own_colours(fuser):
    visible, infrared = _pair(64, 96)
    visible = 0.4 + 0.2 * visible
    chroma = [rgb_to_ycbcr(fuser.fuse(visible, infrared, "haze", strength=s))[..., 1:] for s in (0, 0.01, 0.5, 1)]
    away = [np.median(np.abs(one - rgb_to_ycbcr(visible)[..., 1:])) for one in chroma]
    assert away[0] < 1e-5 and away[1] < 0.005 < away[2] < away[3]


@pytest.mark.slow
def test_strength_in_tiles_is_that_of_the_whole_image(released):
    budget = tiles.BASE_BYTES + tiles.SMALLEST**2 * tiles.BYTES_PER_PIXEL["lure", "tiny"]
    image = gaussian_filter(_pair(2 * tiles.SMALLEST - tiles.OVERLAP, tiles.SMALLEST)[1], (3, 3, 0))
    fuser = Fuser(released, memory="4GB")
    whole, full = (fuser.restore(image, "infrared", "low contrast", strength) for strength in (0.5, 1))
    tiled = Fuser(released, memory=budget).restore(image, "infrared", "low contrast", 0.5)
    assert np.abs(tiled - whole).mean() < 0.02 * np.abs(full - whole).mean()
