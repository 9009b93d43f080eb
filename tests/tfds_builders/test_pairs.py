"""Every row of the pairs table, on tiny folders laid out as the row says."""

import collections

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.features import image_feature

from lure_jax.data import catalog
from lure_jax.data.tonemap import ToneMap, fit
from tfds_builders.files import DataError
from tfds_builders.pair_rows import PAIRS
from tfds_builders.pairs import Pairs

VOC = """<annotation><size><width>8</width><height>6</height></size><object><name>person</name>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>4</xmax><ymax>6</ymax></bndbox></object></annotation>"""

# Row, and a word where it has another layout: (visible, infrared, labels, boxes) of each example with its split; the
# files as the set is published.
PUBLISHED = {
    "msrs": [
        (
            f"{split}/vi/{stem}.png",
            f"{split}/ir/{stem}.png",
            f"{split}/Segmentation_labels/{stem}.png",
            f"MSRS-detection-label/fusion/{split}/{stem}.txt",
            split,
        )
        for split, stem in [("train", "00001D"), ("train", "00003N"), ("test", "00004N")]
    ],
    "roadscene": [
        ("crop_LR_visible/FLIR_00006.jpg", "cropinfrared/FLIR_00006.jpg", None, None, "test"),
        ("crop_LR_visible/FLIR_00018.jpg", "cropinfrared/FLIR_00018.jpg", None, None, "val"),
    ],
    "llvip": [
        (
            f"visible/{split}/{stem}.jpg",
            f"infrared/{split}/{stem}.jpg",
            None,
            f"Annotations/{stem}.xml",
            split,
        )
        for split, stem in [("train", "010001"), ("test", "190001")]
    ],
    "tno": [(f"vi/{stem}.png", f"ir/{stem}.bmp", f"label/{stem}.png", None, "test") for stem in ("1", "2")],
    "mfnet": [
        (f"images/{stem}.png", None, f"labels/{stem}.png", None, split)
        for stem, split in [("00001D", "train"), ("00002N", "val"), ("00003N", "test")]
    ],
    "fmb": [
        (f"{s}/Visible/{stem}.png", f"{s}/Infrared/{stem}.png", f"{s}/Label/{stem}.png", None, split)
        for s, stem, split in [("train", "00001", "val"), ("train", "00003", "train"), ("test", "00002", "test")]
    ],
    "pst900": [
        (f"{split}/rgb/{stem}.png", f"{split}/thermal/{stem}.png", f"{split}/labels/{stem}.png", None, split)
        for split, stem in [
            ("train", "31_bag1a_rect_rgb_frame0000000007"),
            ("train", "31_bag1a_rect_rgb_frame0000000009"),
            ("test", "7_bag22_rect_rgb_frame0000000009"),
        ]
    ],
    "m3fd": [("Vis/00000.png", "Ir/00000.png", None, "Annotation/00000.xml", "train")],
    "vifb": [("VIS/carLight.jpg", "IR/carLight.jpg", None, None, "test")],
    "vifb input": [("input/VI/carLight.png", "input/IR/carLight.png", None, None, "test")],
    "folders": [
        ("visible/8.png", "infrared/8.jpg", "labels/8.png", "boxes/8.txt", "val"),
        ("visible/2.webp", "infrared/2.png", "labels/2.png", "boxes/2.txt", "train"),
    ],
}
# Row: folder below the shared one, suffixes of vi and ir, and what else there is.
SHARED = {
    "msrs": ("msrs", "webp", "png", "msrs/boxes_fusion/{}.txt"),
    "roadscene": ("roadscene", "jpg", "jpg", None),
    "llvip": ("llvip", "jpg", "jpg", None),
    "tno": ("tno_masks", "png", "png", "tno_masks/label/{}.png"),
}


def built(row, source, data_dir):
    builder = Pairs(source=source, config=row, data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
    return builder


def examples(builder):
    """split -> id -> example."""
    sources = builder.as_data_source()
    return {split: {example["id"].decode(): example for example in source} for split, source in sources.items()}


def write_published(key, paint, folder):
    for seed, (visible, infrared, labels, boxes, split) in enumerate(PUBLISHED[key]):
        paint(f"in/{visible}", "RGB" if infrared else "RGBA", seed=seed)
        if infrared:
            paint(f"in/{infrared}", "L", seed=seed + 10)
        else:
            (folder / f"{split}.txt").write_text(visible.split("/")[-1].removesuffix(".png") + "\n")
        if labels:
            paint(f"in/{labels}", "L", seed=seed + 20)
        if boxes:
            (folder / boxes).parent.mkdir(parents=True, exist_ok=True)
            voc = VOC.replace("person", "People") if key == "m3fd" else VOC
            (folder / boxes).write_text(voc if boxes.endswith("xml") else "0 0.5 0.5 0.5 1.0\n")


def test_every_row_is_tested():
    tested = collections.Counter(key.split()[0] for key in [*PUBLISHED, *SHARED])
    assert tested == {row.name: len(row.layouts) for row in PAIRS}
    assert {row.name for row in PAIRS if row.verified} == set(SHARED)
    assert all(row.citation and row.homepage for row in PAIRS if row.name != "folders")


@pytest.mark.parametrize("key", PUBLISHED)
def test_published_layout(key, paint, tmp_path):
    write_published(key, paint, tmp_path / "in")
    found = examples(built(key.split()[0], tmp_path / "in", tmp_path / "out"))
    expected = {}
    for visible, *_, split in PUBLISHED[key]:
        expected.setdefault(split, set()).add(visible.rsplit("/")[-1].split(".")[0])
    assert {split: set(members) for split, members in found.items()} == expected
    for seed, (visible, infrared, labels, boxes, split) in enumerate(PUBLISHED[key]):
        example = found[split][visible.rsplit("/")[-1].split(".")[0]]
        assert set(example) == {"id", "visible", "infrared", "infrared_tone"} | ({"labels"} if labels else set()) | (
            {"boxes"} if boxes else set()
        )
        assert example["visible"].shape == (6, 8, 3) and example["infrared"].shape == (6, 8, 1)
        if infrared is None:
            both = paint("again.png", "RGBA", seed=seed)
            np.testing.assert_array_equal(example["visible"], both[..., :3])
            np.testing.assert_array_equal(example["infrared"], both[..., 3:])
        elif visible.endswith("png"):
            np.testing.assert_array_equal(example["visible"], paint("again.png", seed=seed))
        if infrared and infrared.endswith("png"):
            np.testing.assert_array_equal(example["infrared"][..., 0], paint("again.png", "L", seed=seed + 10))
        if labels:
            np.testing.assert_array_equal(example["labels"][..., 0], paint("again.png", "L", seed=seed + 20))
        if boxes:
            corners = [0.5, 0.25, 1.0, 0.5] if boxes.endswith("xml") else [0.0, 0.25, 1.0, 0.75]
            np.testing.assert_allclose(example["boxes"]["bbox"], [corners])
            assert list(example["boxes"]["label"]) == [0]


@pytest.mark.parametrize("row", SHARED)
def test_layout_of_the_shared_folder(row, paint, tmp_path):
    folder, vi, ir, extra = SHARED[row]
    splits = {"a": "train", "b": "val", "c": "test", "d": "test"}
    for stem in splits:
        paint(f"in/{folder}/vi/{stem}.{vi}")
        paint(f"in/{folder}/ir/{stem}.{ir}", "RGB" if row == "llvip" else "L")
        if extra:
            path = tmp_path / "in" / extra.format(stem)
            path.parent.mkdir(exist_ok=True)
            path.touch() if path.suffix == ".txt" else paint(f"in/{extra.format(stem)}", "L")
    lines = [f"{folder},{stem},{split}" for stem, split in splits.items()]
    (tmp_path / "in/splits.csv").write_text("\n".join(["folder,stem,split", "else,a,test", *lines]))
    found = examples(built(row, tmp_path / "in", tmp_path / "out"))
    assert {split: sorted(members) for split, members in found.items()} == {
        "train": ["a"],
        "val": ["b"],
        "test": ["c", "d"],
    }
    assert found["val"]["b"]["infrared"].shape == (6, 8, 1)
    if row == "msrs":
        assert list(found["val"]["b"]["boxes"]["label"]) == []


def test_class_names_are_stored_with_the_data(paint, tmp_path):
    write_published("msrs", paint, tmp_path / "in")
    built("msrs", tmp_path / "in", tmp_path / "out")
    features = tfds.builder_from_directory(tmp_path / "out/pairs/msrs/1.1.0").info.features
    assert features["labels"].names[:3] == ["unlabelled", "car", "person"]
    assert features["boxes"]["label"].names == ["person", "bicycle", "car"]


def test_pixels_are_the_same_with_and_without_opencv(paint, tmp_path, monkeypatch):
    write_published("folders", paint, tmp_path / "in")
    numbers = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8), mode="P")
    numbers.putpalette([200, 100, 50] * 256)
    numbers.save(tmp_path / "in/labels/2.png")
    thermal = np.linspace(7000, 8000, 48).astype(np.uint16).reshape(6, 8)
    Image.fromarray(thermal).save(tmp_path / "in/infrared/2.png")
    builder = built("folders", tmp_path / "in", tmp_path / "out")
    by_library = []
    for library in (None, pytest.importorskip("cv2")):
        monkeypatch.setattr(image_feature, "cv2", library)
        by_library.append(examples(builder)["train"]["2"])
    for role in ("visible", "infrared", "labels"):
        assert by_library[0][role].dtype == by_library[1][role].dtype == np.uint8
        np.testing.assert_array_equal(by_library[0][role], by_library[1][role])
    np.testing.assert_array_equal(by_library[0]["labels"][..., 0], np.arange(48).reshape(6, 8))


@pytest.mark.parametrize("tone", ["percentile", "plateau", "7000:9000"])
def test_the_curve_of_a_thermal_frame_is_kept_and_turns_values_back(tone, paint, tmp_path):
    for stem in ("2", "8"):
        paint(f"in/visible/{stem}.png", size=(50, 40))
    thermal = np.random.default_rng(0).normal(8000, 60, (40, 50)).astype(np.uint16)
    (tmp_path / "in/infrared").mkdir()
    Image.fromarray(thermal).save(tmp_path / "in/infrared/2.png")
    paint("in/infrared/8.png", "L", size=(50, 40))
    catalog.build("pairs/folders", tmp_path / "in", tmp_path / "out", save_as="rig", tone=tone)
    built_rig = catalog.open_split("rig", tmp_path / "out", "train+val")
    found = {example["id"]: example for example in (built_rig[index] for index in range(len(built_rig)))}
    curve = ToneMap.from_json(found[b"2"]["infrared_tone"].decode())
    assert curve == fit(tone)(thermal.astype(np.float32))
    stored = found[b"2"]["infrared"][..., 0]
    np.testing.assert_array_equal(stored, np.round(255 * curve(thermal)))
    inside = (thermal > curve.values[0]) & (thermal < curve.values[-1])
    step = np.diff(curve.inverse(np.arange(256) / 255)).max()
    assert inside.mean() > 0.99 and step < (curve.values[-1] - curve.values[0]) / 8
    np.testing.assert_allclose(curve.inverse(stored / 255)[inside], thermal[inside], atol=step)
    assert found[b"8"]["infrared_tone"] == b""


def test_manual_dir_is_the_default_source(paint, tmp_path):
    write_published("roadscene", paint, tmp_path / "in")
    builder = Pairs(config="roadscene", data_dir=tmp_path / "out", file_format="array_record")
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "in")
    builder.download_and_prepare(download_config=config)
    assert len(builder.as_data_source("test")) == 1


@pytest.mark.parametrize("role", ["infrared", "labels"])
def test_sizes_must_agree(role, paint, tmp_path):
    write_published("folders", paint, tmp_path / "in")
    name = {"infrared": "in/infrared/2.png", "labels": "in/labels/2.png"}[role]
    paint(name, "L", size=(8, 5))
    with pytest.raises(DataError, match=rf"{name} is 8x5, but .*in/visible/2\.webp is 8x6\.$"):
        built("folders", tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("missing", ["in/infrared/8.jpg", "in/visible/2.webp", "in/labels/8.png", "in/boxes/8.txt"])
def test_missing_partner(missing, paint, tmp_path):
    write_published("folders", paint, tmp_path / "in")
    (tmp_path / missing).unlink()
    folder, stem = missing.split("/")[1:]
    with pytest.raises(DataError, match=rf"has no partner .*in/{folder}/{stem.split('.')[0]}\.\*\.$"):
        built("folders", tmp_path / "in", tmp_path / "out")


def test_mfnet_files_without_a_fourth_channel_are_named(paint, tmp_path):
    write_published("mfnet", paint, tmp_path / "in")
    paint("in/images/00001D.png", "RGB")
    with pytest.raises(DataError, match=r"00001D\.png has 3 channels, but channel 4 is wanted of it\.$"):
        built("mfnet", tmp_path / "in", tmp_path / "out")


def test_examples_in_no_list_are_named(paint, tmp_path):
    write_published("mfnet", paint, tmp_path / "in")
    (tmp_path / "in/val.txt").write_text("00009N")
    with pytest.raises(DataError, match=r"00002N\.png is in none of train\.txt, val\.txt, test\.txt in .*in,"):
        built("mfnet", tmp_path / "in", tmp_path / "out")
    (tmp_path / "in/val.txt").unlink()
    with pytest.raises(DataError, match=r"val\.txt is missing: it says which examples belong to its split\.$"):
        built("mfnet", tmp_path / "in", tmp_path / "out")
