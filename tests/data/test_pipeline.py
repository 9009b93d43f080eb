"""Batches of both pools: what is drawn how often, the same for any number of workers and processes, resumable."""

import itertools

import grain
import ml_collections
import numpy as np
import pytest

from lure_jax.data import catalog, pipeline, sources
from lure_jax.data.degradations import DEGRADATIONS
from lure_jax.errors import UserError
from lure_jax.text.conditions import CONDITIONS, clean_id, condition_id, multi_hot
from lure_jax.text.prompts import PROMPT_CONDITIONS
from lure_jax.text.prompts import PROMPTS as SENTENCES

VISIBLE = tuple(name for modality, name in DEGRADATIONS if modality == "visible")
INFRARED = tuple(name for modality, name in DEGRADATIONS if modality == "infrared")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Eight rendered scenes of 96x128, and one real pair that is black before and white after."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("data")
    sources.prepare(recipe(folder))
    for role, value in (("degraded", 0), ("reference", 255)):
        (folder / "own" / role).mkdir(parents=True)
        Image.new("RGB", (64, 48), (value,) * 3).save(folder / "own" / role / "2.png")
    catalog.build("restoration/folders", folder / "own", folder, save_as="real", condition="noise")
    return folder


def recipe(data_dir, **changes):
    row = dict(dataset="synthetic_scenes/debug", real=False, weight=1.0)
    data = dict(
        data_dir=str(data_dir), source="", workers=0, cache_mb=50.0, infrared_share=0.3, two_conditions=0.3,
        wrong_prompt=0.1, grey_share=0.0, tone_share=0.0, degraded_share=0.5,
        restoration=(
            ml_collections.ConfigDict(row | dict(modality="visible", image="visible", conditions=VISIBLE)),
            ml_collections.ConfigDict(row | dict(modality="infrared", image="infrared", conditions=INFRARED)),
        ),
        fusion=(ml_collections.ConfigDict(row | dict(visible_conditions=("haze", "noise"))),),
    )  # fmt: skip
    return ml_collections.ConfigDict({"data": data | changes})


def real_row(conditions=("noise",)):
    return ml_collections.ConfigDict(
        dict(dataset="real", modality="visible", image="reference", conditions=conditions, real=True, weight=1.0)
    )


def stage(pool, batch=6, crop=24):
    return ml_collections.ConfigDict(dict(pool=pool, batch=batch, crop=crop))


def batches(config, pool, count, seed=0, **changes):
    return list(itertools.islice(pipeline.make_iterator(config, stage(pool, **changes), seed=seed), count))


def joined(many):
    many = list(many)
    return {key: np.concatenate([batch[key] for batch in many]) for key in many[0]}


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.fixture(scope="module")
def drawn(data_dir):
    """1,800 samples of the restoration pool, and 900 of the fusion pool."""
    config = recipe(data_dir)
    return {
        "restoration": joined(batches(config, "restoration", 18, batch=100, crop=8)),
        "fusion": joined(batches(config, "fusion", 9, batch=100, crop=8)),
    }


def near(share, expected, count):
    """Within 4 standard deviations of a binomial share."""
    assert abs(share - expected) <= 4 * np.sqrt(expected * (1 - expected) / count) + 1e-9, (share, expected)


def test_shapes_types_and_ranges(data_dir):
    (batch,) = batches(recipe(data_dir), "restoration", 1)
    shapes = {"degraded": (6, 24, 24, 3), "reference": (6, 24, 24, 3), "modality": (6,), "prompt_ids": (6, 2)}
    shapes |= {"conditions": (6, 13), "reference_conditions": (6, 13)}
    assert {key: value.shape for key, value in batch.items()} == shapes
    (pair,) = batches(recipe(data_dir), "fusion", 1)
    shapes = {"visible": (6, 24, 24, 3), "infrared": (6, 24, 24, 1)}
    shapes |= {f"{key}_reference": shape for key, shape in shapes.items()}
    for modality in ("visible", "infrared"):
        shapes |= {f"{modality}_conditions": (6, 13), f"{modality}_prompt_ids": (6, 2)}
    assert {key: value.shape for key, value in pair.items()} == shapes
    for key, value in (batch | pair).items():
        assert value.dtype == (np.int32 if key == "modality" or key.endswith("prompt_ids") else np.float32), key
        if value.ndim == 4:
            assert 0 <= value.min() < value.max() <= 1


@pytest.mark.parametrize(("pool", "counts"), [("restoration", (0, 1, 2)), ("fusion", (0,))])
def test_the_same_for_any_number_of_workers_and_resumable_anywhere(pool, counts, data_dir):
    wide = stage(pool, batch=20)
    expected = batches(recipe(data_dir), pool, 5, seed=3, batch=20)
    if pool == "restoration":  # every degradation is among them
        drawn = joined(expected)["conditions"].any(0)
        assert {tuple(CONDITIONS[index]) for index in np.flatnonzero(drawn)} == set(DEGRADATIONS)
    assert any(np.abs(a - b).max() > 0 for a, b in zip(expected[0].values(), expected[1].values(), strict=True))
    with pytest.raises(AssertionError):
        same(expected, batches(recipe(data_dir), pool, 5, seed=4, batch=20))
    for workers in counts:
        config = recipe(data_dir, workers=workers)
        start = 2 * 20 if workers == 2 else 3 * 20  # starting workers takes seconds: once, and not at the beginning
        same(list(itertools.islice(pipeline.make_iterator(config, wide, seed=3, start=start), 2)),
             expected[start // 20 :][:2])  # fmt: skip
    narrow = pipeline.make_iterator(recipe(data_dir), stage(pool, batch=4), seed=3, start=28)
    same([joined(itertools.islice(narrow, 3))], [{key: value[8:] for key, value in expected[1].items()}])


@pytest.mark.parametrize("pool", ["restoration", "fusion"])
def test_the_shares_of_the_processes_are_the_batches_of_one(data_dir, pool):
    whole = batches(recipe(data_dir), pool, 3)
    for start, rest in ((0, whole), (6, whole[1:])):
        shares = [
            itertools.islice(
                pipeline.make_iterator(recipe(data_dir), stage(pool), seed=0, start=start, share=(i, 3)),
                len(rest),
            )
            for i in range(3)
        ]
        same([joined(parts) for parts in zip(*shares, strict=True)], rest)


def test_an_epoch_is_read_exactly_once_by_all_processes_together(monkeypatch):
    """Ten images, shuffled over windows of four epochs: of each window, each image is read four times in all."""
    monkeypatch.setattr(pipeline, "WINDOW", 40)
    images = grain.MapDataset.source(sources.Endless(range(10), seed=1)).seed(1).map(lambda index: {"index": index})
    read = []
    for index in range(4):
        share = pipeline.batches([(images, 1.0)], 0, 8, 2, 0, (index, 4))
        read.append(joined(itertools.islice(share, 10))["index"].reshape(10, 2))
    for window in np.split(np.stack(read, 1).reshape(-1), 2):
        np.testing.assert_array_equal(np.bincount(window), [4] * 10)
    epoch = np.stack(read, 1).reshape(-1)[:40]
    assert any(sorted(epoch[i : i + 10]) != list(range(10)) for i in (0, 10, 20, 30))


def test_a_batch_must_divide_among_processes(data_dir):
    with pytest.raises(ValueError, match=r"batch=6 does not divide among 4 processes\.$"):
        pipeline.make_iterator(recipe(data_dir), stage("fusion"), seed=0, share=(0, 4))


def test_share_of_modalities_and_conditions(drawn):
    samples = drawn["restoration"]
    count = len(samples["modality"])
    near(samples["modality"].mean(), 0.3, count)
    two = samples["conditions"].sum(1) == 2
    assert set(samples["conditions"].sum(1)) == {1, 2}
    near(two.mean(), 0.3, count)
    single = samples["conditions"][~two]
    for modality, names, share in (("visible", VISIBLE, 0.7), ("infrared", INFRARED, 0.3)):
        for name in names:
            near(single[:, condition_id(modality, name)].mean(), share / len(names), len(single))
    wrong_modality = [CONDITIONS[i].modality != ("visible", "infrared")[m]
                      for m, row in zip(samples["modality"], samples["conditions"], strict=True)
                      for i in np.flatnonzero(row)]  # fmt: skip
    assert not any(wrong_modality)
    for exclusive in (("low_light", "over_exposure"), ("rain", "snow"), ("haze", "snow")):
        columns = [condition_id("visible", name) for name in exclusive]
        assert not samples["conditions"][:, columns].all(1).any()


def test_prompts_name_the_conditions(drawn):
    samples = drawn["restoration"]
    right = samples["reference_conditions"].sum(1) == 0
    for prompts, conditions in zip(samples["prompt_ids"][right], samples["conditions"][right], strict=True):
        np.testing.assert_array_equal(multi_hot(PROMPT_CONDITIONS[prompts[prompts >= 0]]), conditions)
    assert len(set(samples["prompt_ids"][:, 0])) > len(SENTENCES) / 2


def test_a_wrong_prompt_names_what_is_absent_and_leaves_the_image_as_it_is(drawn):
    samples = drawn["restoration"]
    wrong = (samples["reference"] == samples["degraded"]).all((1, 2, 3))
    np.testing.assert_array_equal(wrong, samples["reference_conditions"].any(1))
    near(wrong.mean(), 0.1, len(wrong))
    np.testing.assert_array_equal(samples["reference_conditions"][wrong], samples["conditions"][wrong])
    assert not samples["reference_conditions"][~wrong].any()
    named = PROMPT_CONDITIONS[samples["prompt_ids"][wrong, 0]]
    assert (samples["prompt_ids"][wrong, 1] == -1).all()
    for index, modality, present in zip(named, samples["modality"][wrong], samples["conditions"][wrong], strict=True):
        assert CONDITIONS[index].modality == ("visible", "infrared")[modality]
        assert not present[index]
    assert clean_id("visible") in named and len(set(named)) > 5


def test_infrared_is_repeated_to_three_channels(drawn):
    samples = drawn["restoration"]
    grey = (np.ptp(samples["degraded"], axis=-1) == 0).all((1, 2))
    assert grey[samples["modality"] == 1].all() and not grey[samples["modality"] == 0].all()


def test_a_share_of_the_visible_samples_is_grey(data_dir):
    visible = recipe(data_dir).data.restoration[:1]
    config = recipe(data_dir, restoration=visible, grey_share=0.5, infrared_share=0.0, wrong_prompt=0.0)
    samples = joined(batches(config, "restoration", 8, batch=50))
    pairs = [(np.ptp(samples[name], axis=-1) == 0).all((1, 2)) for name in ("degraded", "reference")]
    assert (pairs[0] >= pairs[1]).all()  # an image can be degraded to black
    near(pairs[1].mean(), 0.5, len(pairs[1]))


def test_a_share_of_the_infrared_samples_has_another_tone_unless_tone_is_their_trouble(data_dir):
    infrared = recipe(data_dir).data.restoration[1:]
    settings = dict(restoration=infrared, infrared_share=1.0, wrong_prompt=0.0)
    plain, changed = (
        joined(batches(recipe(data_dir, tone_share=share, **settings), "restoration", 4, batch=50)) for share in (0, 1)
    )
    flat = multi_hot([condition_id("infrared", "low_contrast")])
    tonal = (changed["conditions"] * flat).any(1)
    spread = [np.ptp(samples["reference"], (1, 2, 3)) for samples in (plain, changed)]
    np.testing.assert_array_equal(plain["reference"][tonal], changed["reference"][tonal])
    kept = (spread[1] / np.maximum(spread[0], 1e-6))[~tonal & (spread[0] > 0.02)]
    assert len(kept) > 80 and (kept > 0.499).all() and (kept < 1.001).all() and 0.7 < kept.mean() < 0.8


def test_a_tone_keeps_everything_between_black_and_white():
    image = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8, 1)
    for seed in range(20):
        toned = pipeline.toned(image, "visible", np.random.default_rng(seed))
        steps = np.diff(toned.ravel())
        assert toned.dtype == np.float32 and toned.min() >= 0 and toned.max() <= 1 + 1e-6
        np.testing.assert_allclose(steps, steps.mean(), atol=1e-6)
        assert 0.4 <= np.ptp(toned) <= 1


def test_fusion_tones_a_share_of_its_images_and_their_references_alike(data_dir):
    config = recipe(data_dir, tone_share=0.5, degraded_share=0.0)
    samples = joined(batches(config, "fusion", 4, batch=50))
    plain = joined(batches(recipe(data_dir, degraded_share=0.0), "fusion", 4, batch=50))
    for modality in ("visible", "infrared"):
        np.testing.assert_array_equal(samples[modality], samples[f"{modality}_reference"])
        spread, before = (np.ptp(s[modality], (1, 2, 3)) for s in (samples, plain))
        assert spread.mean() < before.mean()


def test_fusion_degrades_one_or_both_images_of_half_of_the_pairs(drawn):
    samples = drawn["fusion"]
    count = len(samples["visible"])
    bad = {m: samples[f"{m}_conditions"].any(1) for m in ("visible", "infrared")}
    near((bad["visible"] | bad["infrared"]).mean(), 0.5, count)
    both = bad["visible"] & bad["infrared"]
    for chosen in (both, bad["visible"] & ~both, bad["infrared"] & ~both):
        near(chosen.mean(), 0.5 / 3, count)
    for modality, degraded in bad.items():
        changed = (samples[modality] != samples[f"{modality}_reference"]).any((1, 2, 3))
        assert not (changed & ~degraded).any() and changed[degraded].mean() > 0.9
        prompts = PROMPT_CONDITIONS[samples[f"{modality}_prompt_ids"][:, 0]]
        np.testing.assert_array_equal(prompts == clean_id(modality), ~degraded)
    offered = multi_hot([condition_id("visible", name) for name in ("haze", "noise")])
    assert not (samples["visible_conditions"] * (1 - offered)).any()


def test_real_pairs_are_taken_as_they_are(data_dir):
    config = recipe(data_dir, restoration=(real_row(),), infrared_share=0.0, wrong_prompt=0.0)
    samples = joined(batches(config, "restoration", 3))
    assert samples["degraded"].max() == 0 and samples["reference"].min() == 1
    np.testing.assert_array_equal(samples["conditions"], [multi_hot([condition_id("visible", "noise")])] * 18)


def test_rows_of_a_condition_weigh_as_they_say(data_dir):
    clean = recipe(data_dir).data.restoration[0]
    rows = (clean.copy_and_resolve_references(), real_row())
    rows[0].conditions, rows[1].weight = ("noise", "haze"), 3.0
    config = recipe(data_dir, restoration=rows, infrared_share=0.0, wrong_prompt=0.0, two_conditions=0.0)
    samples = joined(batches(config, "restoration", 8, batch=100, crop=8))
    is_real = samples["reference"].min((1, 2, 3)) == 1
    near(is_real.mean(), 0.5 * 0.75, len(is_real))
    near(samples["conditions"][:, condition_id("visible", "haze")].mean(), 0.5, len(is_real))


def test_conditions_weigh_as_the_config_says(data_dir):
    rows = (recipe(data_dir).data.restoration[0].copy_and_resolve_references(), real_row())
    rows[0].conditions = ("noise", "haze", "rain")
    config = recipe(data_dir, restoration=rows, infrared_share=0.0, wrong_prompt=0.0, two_conditions=0.0)
    config.data.condition_weights = ml_collections.ConfigDict({"visible": {"noise": 6.0}})
    samples = joined(batches(config, "restoration", 8, batch=100, crop=8))
    for name, share in (("noise", 0.75), ("haze", 0.125), ("rain", 0.125)):
        near(samples["conditions"][:, condition_id("visible", name)].mean(), share, 800)
    is_real = samples["reference"].min((1, 2, 3)) == 1
    near(is_real.mean(), 0.75 * 0.5, 800)  # the rows of a condition share it as before


def test_a_stage_may_draw_some_conditions_alone(data_dir):
    rows = (recipe(data_dir).data.restoration[0].copy_and_resolve_references(), real_row())
    rows[0].conditions, rows[1].weight = ("noise", "haze", "rain"), 3.0
    config = recipe(data_dir, restoration=rows, infrared_share=0.0, wrong_prompt=0.0, two_conditions=0.0)
    parts = pipeline.restoration_parts(config.data, ("noise", "rain"))
    assert sum(part.weight for part in parts) == pytest.approx(1)
    stage = ml_collections.ConfigDict(dict(pool="restoration", batch=100, crop=8, conditions=("noise", "rain")))
    iterator = pipeline.make_iterator(config, stage, seed=0)
    samples = joined([next(iterator) for _ in range(4)])
    for name, share in (("noise", 0.5), ("haze", 0.0), ("rain", 0.5)):
        near(samples["conditions"][:, condition_id("visible", name)].mean(), share, 400)
    near((samples["reference"].min((1, 2, 3)) == 1).mean(), 0.5 * 0.75, 400)
    stage.conditions = ("stripe",)
    with pytest.raises(UserError, match=r"conditions=\('stripe',\): no row of config.data.restoration offers them"):
        pipeline.make_iterator(config, stage, seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visible": {"snow": 2.0}}, r"condition_weights\.visible\.snow is a condition of no row; the rows offer haze"),
        ({"visible": {"haze": 0.0}}, r"condition_weights\.visible\.haze=0\.0 must be a number above 0"),
        ({"infrared": {"noise": 2.0}}, r"infrared\.noise is a condition of no row; the rows offer none"),
    ],
)
def test_wrong_weights_of_conditions(changes, message, data_dir):
    row = recipe(data_dir).data.restoration[0].copy_and_resolve_references()
    row.conditions = ("haze",)
    config = recipe(data_dir, restoration=(row,), infrared_share=0.0)
    config.data.condition_weights = ml_collections.ConfigDict(changes)
    with pytest.raises(UserError, match=message):
        pipeline.restoration_parts(config.data)


def test_strengths_come_from_the_config(data_dir):
    changes = {"visible": {"over_exposure": {"gain": (1.0, 1.0)}}}
    row = recipe(data_dir).data.restoration[0].copy_and_resolve_references()
    row.conditions = ("over_exposure",)
    config = recipe(data_dir, restoration=(row,), infrared_share=0.0, two_conditions=0.0)
    config.data.strengths = ml_collections.ConfigDict(changes)
    (batch,) = batches(config, "restoration", 1)
    np.testing.assert_allclose(batch["degraded"], batch["reference"], atol=1e-6)
    config.data.strengths.visible.over_exposure.gain = (2.0, 1.0)
    with pytest.raises(ValueError, match=r"config\.data\.strengths\.visible\.over_exposure\.gain=\(2\.0, 1\.0\)"):
        pipeline.make_iterator(config, stage("restoration"), seed=0)


def test_crops_stay_registered_and_small_images_are_continued():
    ramp = np.arange(40 * 50, dtype=np.int64).reshape(40, 50, 1) % 251
    pair = [ramp.astype(np.uint8), (250 - ramp).astype(np.uint8)]
    shapes = set()
    for seed in range(20):
        one, other = pipeline.crop_and_turn(pair, 32, np.random.default_rng(seed))
        np.testing.assert_allclose(one + other, 250 / 255, atol=1e-6)
        shapes.add((one[1, 0] - one[0, 0]).item())
    assert len(shapes) >= 4  # turned and flipped
    (large,) = pipeline.crop_and_turn(pair[:1], 64, np.random.default_rng(0))
    assert large.shape == (64, 64, 1)
    assert set(np.round(large.ravel() * 255).astype(int)) <= set(ramp.ravel().tolist())


def test_decoded_keeps_what_fits(data_dir, monkeypatch):
    reads = []
    real = catalog.open_split("synthetic_scenes/debug", data_dir, "train")

    class Counted:
        __len__ = real.__len__

        def __getitem__(self, index):
            reads.append(index)
            return real[index]

    monkeypatch.setattr(catalog, "open_split", lambda *_: Counted())
    one_image_mb = 96 * 128 * 3 / 1e6
    source = sources.Decoded("x", data_dir, "train", ("visible",), 1.5 * one_image_mb)
    for index in (0, 0, 1, 1):
        np.testing.assert_array_equal(source[index]["visible"], real[index]["visible"])
    assert reads == [0, 1, 1] and len(source) == 4


def test_endless_takes_every_image_once_a_round_in_changing_orders():
    source = sources.Endless(list(range(7)), seed=3)
    rounds = [[source[7 * number + place] for place in range(7)] for number in range(20)]
    assert all(sorted(order) == list(range(7)) for order in rounds)
    assert len(set(map(tuple, rounds))) > 15
    again = sources.Endless(list(range(7)), seed=3)
    assert [again[index] for index in (139, 0, 70)] == [rounds[19][6], rounds[0][0], rounds[10][0]]
    assert [sources.Endless(list(range(7)), seed=4)[index] for index in range(7)] != rounds[0]


def test_only_the_first_process_builds(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(sources.multihost_utils, "sync_global_devices", waited.append)
    for index in (1, 0):
        monkeypatch.setattr(sources.jax, "process_index", lambda index=index: index)
        monkeypatch.setattr(sources.jax, "process_count", lambda: 2)
        sources.prepare(recipe(tmp_path))
        assert (tmp_path / "synthetic_scenes").exists() == (index == 0)
        assert len(waited) == 2 - index


def test_a_missing_real_data_set_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LURE_SHARED", str(tmp_path / "nowhere"))
    config = recipe(tmp_path, restoration=(real_row(),), fusion=())
    with pytest.raises(catalog.DataError, match=f"'real' is not built in {tmp_path}"):
        sources.prepare(config)
