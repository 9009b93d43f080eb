"""Every row of the restoration table, on tiny folders laid out as the row says."""

import collections
import dataclasses

import numpy as np
import pytest
from PIL import Image

from lure_jax.data.tonemap import ToneMap
from lure_jax.text.conditions import CONDITIONS
from tfds_builders.files import DataError
from tfds_builders.restoration import Restoration
from tfds_builders.restoration_rows import RESTORATION

REALBLUR = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref"
# Row, and a word where it has another layout: (degraded, reference, split) of each example, as the set is published.
PUBLISHED = {
    "lol": [
        ("our485/low/2.png", "our485/high/2.png", "train"),
        ("our485/low/8.png", "our485/high/8.png", "val"),
        ("eval15/low/1.png", "eval15/high/1.png", "test"),
    ],
    "polyu": [
        (f"CroppedImages/{stem}_real.JPG", f"CroppedImages/{stem}_mean.JPG", "train")
        for stem in ("Canon5D2_5_160_3200_chair_11", "Canon5D2_5_160_3200_chair_5")
    ],
    "clean": [(None, "8.png", "val"), (None, "2.jpg", "train")],
    "lol_v2_real": [
        (f"Real_captured/{s}/Low/low{n}.png", f"Real_captured/{s}/Normal/normal{n}.png", split)
        for s, n, split in [("Train", "00003", "train"), ("Train", "8", "val"), ("Test", "00690", "test")]
    ],
    "lol_v2_synthetic": [
        (f"Synthetic/{s}/Low/{n}.png", f"Synthetic/{s}/Normal/{n}.png", split)
        for s, n, split in [("Train", "r0a2", "train"), ("Train", "8", "val"), ("Test", "r00816405t", "test")]
    ],
    "sice": [
        ("Dataset_Part1/2/1.JPG", "Dataset_Part1/Label/2.JPG", "train"),
        ("Dataset_Part2/3/1.JPG", "Dataset_Part2/Label/3.PNG", "test"),
    ],
    "sidd": [
        (f"Data/{scene}/NOISY_SRGB_010.PNG", f"Data/{scene}/GT_SRGB_010.PNG", "val")
        for scene in ("0001_001_S6_00100_00060_3200_L", "0011_001_S6_00800_00500_5500_N")
    ],
    "sidd medium": [
        (f"Data/{scene}/0001_NOISY_SRGB_{n}.PNG", f"Data/{scene}/0001_GT_SRGB_{n}.PNG", "val")
        for scene in ("0001_001_S6_00100_00060_3200_L",)
        for n in ("010", "011")
    ],
    "cc15": [("5dmark3_iso3200_1_real.png", "5dmark3_iso3200_1_mean.png", "test")],
    "reside": [
        ("outdoor/hazy/0001_0.8_0.2.jpg", "outdoor/gt/0001.png", "test"),
        ("outdoor/hazy/0001_0.9_0.1.jpg", "outdoor/gt/0001.png", "test"),
    ],
    "reside indoor": [("indoor/hazy/1400_1.png", "indoor/gt/1400.png", "test")],
    "reside training": [
        ("hazy/2_0.8_0.2.png", "clear/2.png", "train"),
        ("hazy/8_1_0.2.png", "clear/8.png", "val"),
    ],
    "nh_haze": [("01_hazy.png", "01_GT.png", "train"), ("12_hazy.png", "12_GT.png", "test")],
    "rain100": [("rainy/rain-001.png", "norain-001.png", "test")],
    "rain100 training": [("rain-2.png", "norain-2.png", "train")],
    "spa": [("rain/000.png", "gt/000gt.png", "test")],
    "snow100k": [
        ("all/synthetic/beautiful_smile_00001.jpg", "all/gt/beautiful_smile_00001.jpg", "train"),
        ("Snow100K-L/synthetic/city_read_00002.jpg", "Snow100K-L/gt/city_read_00002.jpg", "test"),
    ],
    "gopro": [
        (f"{split}/{scene}/blur/{frame}.png", f"{split}/{scene}/sharp/{frame}.png", split)
        for split, scene, frame in [
            ("train", "GOPR0372_07_00", "000047"),
            ("train", "GOPR0372_07_00", "000048"),
            ("test", "GOPR0384_11_00", "000001"),
        ]
    ],
    "realblur": [
        (f"{REALBLUR}/scene050/blur/blur_1.png", f"{REALBLUR}/scene050/gt/gt_1.png", "train"),
        (f"{REALBLUR}/scene001/blur/blur_2.png", f"{REALBLUR}/scene001/gt/gt_2.png", "test"),
    ],
    "folders": [("degraded/1.png", "reference/1.webp", "test"), ("degraded/2.png", "reference/2.png", "train")],
}
SHARED = {
    "lol": ("restore/lowlight_lol/low/{}.webp", "restore/lowlight_lol/high/{}.webp"),
    "polyu": ("restore/noise_polyu/noisy/{}.jpg", "restore/noise_polyu/clean/{}.jpg"),
    "clean": (None, "restore/clean_cbsd68/{}.jpg"),
}
CONDITION = {row.name: row.condition.encode() for row in RESTORATION if row.condition}


def examples(row, source, data_dir):
    """split -> id -> example."""
    builder = Restoration(source=source, config=row, data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
    sources = builder.as_data_source()
    return {split: {example["id"].decode(): example for example in source} for split, source in sources.items()}


def own_row(**changes):
    (row,) = [row for row in RESTORATION if row.name == "folders"]
    return dataclasses.replace(row, name="mine", **changes)


def test_every_row_is_tested_and_names_a_condition():
    tested = collections.Counter(key.split()[0] for key in [*PUBLISHED, *SHARED])
    assert tested == {row.name: len(row.layouts) for row in RESTORATION}
    assert {row.name for row in RESTORATION if row.verified} == {"lol", "polyu", "clean"}
    assert all(row.citation and row.homepage for row in RESTORATION if row.name != "folders")
    assert [CONDITION[name] for name in ("lol", "polyu", "reside")] == [b"low_light", b"noise", b"haze"]
    assert all((row.modality, row.condition) in CONDITIONS for row in RESTORATION if row.condition)


@pytest.mark.parametrize("key", PUBLISHED)
def test_published_layout(key, paint, tmp_path):
    files, row = PUBLISHED[key], key.split()[0]
    for seed, (degraded, reference, _) in enumerate(files):
        paint(f"in/{reference}", seed=seed)
        if degraded:
            paint(f"in/{degraded}", seed=seed + 10)
    if row == "realblur":
        for split in ("train", "test"):
            lines = [f"{reference} {degraded}" for degraded, reference, s in files if s == split]
            (tmp_path / f"in/RealBlur_J_{split}_list.txt").write_text("\n".join(lines))
    config = own_row(condition="haze") if row == "folders" else row
    found = examples(config, tmp_path / "in", tmp_path / "out")
    stored = [(split, example) for split, members in found.items() for example in members.values()]
    assert sorted(split for split, _ in stored) == sorted(split for *_, split in files)
    for seed, (degraded, reference, wanted) in enumerate(files):
        last = max(n for n, (_, other, _) in enumerate(files) if other == reference)
        pixels = {"reference": stored_pixels(reference, last, tmp_path)}
        pixels["degraded"] = stored_pixels(degraded, seed + 10, tmp_path) if degraded else pixels["reference"]
        same = [e for split, e in stored if split == wanted and all(np.array_equal(e[k], v) for k, v in pixels.items())]
        assert len(same) == 1, (degraded, reference)
        assert same[0]["modality"] == 0 and same[0]["condition"] == CONDITION.get(row, b"haze")


def stored_pixels(name, seed, tmp_path):
    """What was painted into a file of that name, decoded."""
    path = tmp_path / f"again.{name.split('.')[-1]}"
    shape = (6, 8, 3)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_reference_serves_every_degraded_version_of_its_scene(paint, tmp_path):
    for variant in ("1_0.2", "0.8_0.2"):
        paint(f"in/hazy/8_{variant}.png")
        paint(f"in/hazy/2_{variant}.png")
    for scene in ("8", "2"):
        paint(f"in/clear/{scene}.png")
    found = examples("reside", tmp_path / "in", tmp_path / "out")
    assert {split: set(members) for split, members in found.items()} == {
        "train": {"2_1_0.2", "2_0.8_0.2"},
        "val": {"8_1_0.2", "8_0.8_0.2"},
    }


@pytest.mark.parametrize("row", SHARED)
def test_layout_of_the_shared_folder(row, paint, tmp_path):
    splits = {"a": "train", "b": "val", "c": "test"}
    for name in splits:
        for seed, pattern in enumerate(filter(None, SHARED[row])):
            paint("in/" + pattern.format(name), seed=seed)
    folder = {"lol": "restore/lowlight_lol", "polyu": "restore/noise_polyu", "clean": "restore/clean_cbsd68"}[row]
    lines = [f"{folder},{name},{split}" for name, split in splits.items()]
    (tmp_path / "in/splits.csv").write_text("\n".join(["folder,stem,split", *lines]))
    found = examples(row, tmp_path / "in", tmp_path / "out")
    assert {split: list(members) for split, members in found.items()} == {
        "train": ["a"],
        "val": ["b"],
        "test": ["c"],
    }
    same = np.array_equal(found["val"]["b"]["degraded"], found["val"]["b"]["reference"])
    assert same == (row == "clean")


def test_infrared_is_grey_on_disk_and_three_equal_channels_on_reading(paint, tmp_path):
    paint("in/degraded/1.png", "L", seed=1)
    reference = paint("in/reference/1.png", "RGB", seed=2)
    row = own_row(modality="infrared", condition="stripe")
    example = examples(row, tmp_path / "in", tmp_path / "out")["test"]["1"]
    assert example["modality"] == 1 and example["condition"] == b"stripe"
    assert example["degraded"].shape == (6, 8, 3)
    np.testing.assert_array_equal(example["reference"], example["reference"][..., :1].repeat(3, axis=-1))
    np.testing.assert_allclose(example["reference"][..., 0], reference @ [0.299, 0.587, 0.114], atol=1)


def test_sixteen_bit_infrared_pair_shares_the_limits_of_its_reference(tmp_path):
    reference = np.linspace(1000, 3000, 48).astype(np.uint16).reshape(6, 8)
    for folder, values in (("reference", reference), ("degraded", (reference - 1000) // 2 + 1000)):
        (tmp_path / "in" / folder).mkdir(parents=True)
        Image.fromarray(values).save(tmp_path / "in" / folder / "1.png")
    row = own_row(modality="infrared", condition="low_contrast")
    example = examples(row, tmp_path / "in", tmp_path / "out")["test"]["1"]
    assert example["reference"].max() == 255
    np.testing.assert_allclose(example["degraded"].astype(int), example["reference"] / 2, atol=2)
    curve = ToneMap.from_json(example["tone"].decode())
    np.testing.assert_allclose(curve.inverse(example["reference"][..., 0] / 255), reference, atol=8)


def test_sizes_must_agree(paint, tmp_path):
    paint("in/our485/low/1.png")
    paint("in/our485/high/1.png", size=(9, 6))
    with pytest.raises(DataError, match=r"low/1\.png is 8x6, but .*high/1\.png is 9x6\.$"):
        examples("lol", tmp_path / "in", tmp_path / "out")
