"""Building into a folder, listing, opening; nothing half-built; the counts of the real images; no TensorFlow."""

import csv
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lure_jax.data import catalog
from lure_jax.data.catalog import DataError
from tfds_builders.files import find_examples, find_layout

# MANIFEST.md of the shared images.
REAL = {
    "msrs": {"train": 154, "val": 21, "test": 25},
    "roadscene": {"train": 90, "val": 28, "test": 30},
    "llvip": {"test": 11},
    "tno": {"test": 69},
    "lol": {"train": 10, "test": 4},
    "polyu": {"train": 41, "val": 11, "test": 12},
    "clean": {"train": 31, "val": 5, "test": 10},
}


# Its folder there, and in it those of infrared and visible or of the reference.
FOLDERS = {
    "msrs": ("msrs", "ir", "vi"),
    "roadscene": ("roadscene", "ir", "vi"),
    "llvip": ("llvip", "ir", "vi"),
    "tno": ("tno_masks", "ir", "vi"),
    "lol": ("restore/lowlight_lol", "high"),
    "polyu": ("restore/noise_polyu", "clean"),
    "clean": ("restore/clean_cbsd68", ""),
}


@pytest.fixture
def source(tmp_path):
    """Two own pairs, in folders of clean photos too; "2" is hashed to train and "8" to val."""
    folder = tmp_path / "in"
    rng = np.random.default_rng(0)
    for role in ("visible", "infrared"):
        (folder / role).mkdir(parents=True)
        for stem in ("2", "8"):
            pixels = rng.integers(0, 256, (6, 8, 3) if role == "visible" else (6, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / role / f"{stem}.png")
    return folder


def contents(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_build_and_open(source, tmp_path):
    summary = catalog.build("pairs/folders", source, tmp_path / "out", save_as="rig")
    assert summary.name == "rig" and summary.counts == {"train": 1, "val": 1}
    assert contents(tmp_path / "out") == ["pairs"]
    assert contents(tmp_path / "out/pairs") == ["rig"]
    for name in ("rig", "pairs/rig"):
        opened = catalog.open_split(name, tmp_path / "out", "val")
        assert len(opened) == 1 and opened[0]["id"] == b"8"
    pixels = np.asarray(Image.open(source / "visible/8.png"))
    np.testing.assert_array_equal(opened[0]["visible"], pixels)
    assert len(catalog.open_split("rig", tmp_path / "out", "train+val")) == 2
    assert pickle.loads(pickle.dumps(opened))[0]["id"] == b"8"  # as Grain's workers need


def test_names_that_look_like_patterns(source, tmp_path):
    source = source.rename(tmp_path / "my [1] photos")
    (source / "visible/8.png").rename(source / "visible/\u00fc {x} 1.5.png")
    data_dir = tmp_path / "data [2]"
    everything = "+".join(catalog.build("clean", source / "visible", data_dir).counts)
    ids = {example["id"].decode() for example in catalog.open_split("clean", data_dir, everything)}
    assert ids == {"2", "\u00fc {x} 1.5"}


def test_building_prints_nothing_of_its_own(source, tmp_path, capfd):
    catalog.build("clean", source / "visible", tmp_path / "out", save_as="photos")
    assert capfd.readouterr() == ("", "")


def test_modality_and_condition_of_own_data(source, tmp_path):
    catalog.build("clean", source / "infrared", tmp_path / "out", save_as="thermal", modality="infrared")
    example = catalog.open_split("thermal", tmp_path / "out", "train")[0]
    assert example["modality"] == 1 and example["condition"] == b"clean"


def test_files_that_are_named_otherwise(source, tmp_path):
    (source / "infrared").rename(source / "thermal")
    files = {"visible": "visible/{stem}.png", "infrared": "thermal/{stem}.png"}
    choices = dict(files=files | {"labels": "thermal/{stem}.png"}, save_as="mine")
    assert catalog.build("m3fd", source, tmp_path / "out", **choices).counts == {"train": 1, "val": 1}
    assert "labels" in catalog.open_split("mine", tmp_path / "out", "val")[0]
    with pytest.raises(DataError, match="Save 'fmb' under a name of its own, as you choose its files"):
        catalog.build("fmb", source, tmp_path / "out", files=files)
    assert catalog.build("fmb", source, tmp_path / "out", files=files, save_as="a").counts == {"train": 1, "val": 1}
    with pytest.raises(DataError, match="'depth' is no role of 'b': its files are boxes, infrared, labels, visible"):
        catalog.build("fmb", source, tmp_path / "out2", files={"depth": "x/{stem}.png"}, save_as="b")


def test_rebuilding_needs_to_be_asked_for(source, tmp_path):
    catalog.build("clean", source / "visible", tmp_path / "out")
    with pytest.raises(DataError, match="restoration/clean is already built"):
        catalog.build("clean", source / "visible", tmp_path / "out")
    (source / "visible/8.png").unlink()
    summary = catalog.build("clean", source / "visible", tmp_path / "out", overwrite=True)
    assert summary.counts == {"train": 1}
    assert contents(tmp_path / "out") == ["restoration"]
    with pytest.raises(DataError, match="has the splits train, but not 'val'"):
        catalog.open_split("clean", tmp_path / "out", "val")


@pytest.mark.parametrize("damage", ["truncate", "text", "empty", "size", "unpaired"])
def test_a_failed_build_leaves_what_was_there(damage, source, tmp_path):
    catalog.build("pairs/folders", source, tmp_path / "out")
    before = sorted(path.relative_to(tmp_path) for path in (tmp_path / "out").rglob("*"))
    file = source / "visible/8.png"
    if damage == "unpaired":
        (source / "infrared/8.png").unlink()
    elif damage == "size":
        Image.new("RGB", (4, 4)).save(file)
    else:
        file.write_bytes({"truncate": file.read_bytes()[:150], "text": b"text", "empty": b""}[damage])
    for data_dir in ("out", "fresh"):
        with pytest.raises(DataError) as caught:
            catalog.build("pairs/folders", source, tmp_path / data_dir, overwrite=True)
        message = str(caught.value)
        assert "visible/8.png" in message and message.endswith(".") and "\n" not in message
    assert sorted(path.relative_to(tmp_path) for path in (tmp_path / "out").rglob("*")) == before
    assert contents(tmp_path / "fresh") == []
    assert len(catalog.open_split("folders", tmp_path / "out", "train")) == 1


def test_an_interrupted_build_leaves_nothing(source, tmp_path, monkeypatch):
    def interrupt(self, example):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfds_builders.pairs.Pairs.read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        catalog.build("pairs/folders", source, tmp_path / "out")
    assert contents(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("name", "choices", "message"),
    [
        ("msr", {}, "There is no data set 'msr': there are msrs, roadscene, "),
        ("folders", {}, "'folders' is ambiguous: say pairs/folders or restoration/folders."),
        ("pairs/folders", {"condition": "noise"}, "'pairs/folders' holds pairs, which have no condition"),
        ("pairs/folders", {"save_as": "../x"}, "'../x' can't name a data set"),
        ("pairs/folders", {"save_as": "msrs"}, "'msrs' is the name of another data set"),
        ("clean", {"modality": "infrared"}, "Save 'clean' under a name of its own"),
        ("clean", {"modality": "radar", "save_as": "x"}, "Modality 'radar' is neither visible nor infrared"),
        ("restoration/folders", {}, "Condition '' of visible images is none of clean, low_light"),
        (
            "clean",
            {"modality": "infrared", "condition": "rain", "save_as": "x"},
            "Condition 'rain' of infrared images is none of clean, low_contrast",
        ),
    ],
)
def test_wrong_names_and_choices(name, choices, message, source, tmp_path):
    with pytest.raises(DataError) as caught:
        catalog.build(name, source, tmp_path / "out", **choices)
    assert message in str(caught.value)
    assert contents(tmp_path / "out") == []


def test_not_built_yet_names_the_command(source, tmp_path):
    with pytest.raises(DataError) as caught:
        catalog.open_split("msrs", tmp_path, "train")
    assert f"`lure data build msrs --source DIR --data-dir {tmp_path}`" in str(caught.value)


def test_one_name_in_both_builders_is_ambiguous(source, tmp_path):
    catalog.build("pairs/folders", source, tmp_path / "out", save_as="rig")
    catalog.build("clean", source / "visible", tmp_path / "out", save_as="rig")
    with pytest.raises(DataError, match="say pairs/rig or restoration/rig"):
        catalog.open_split("rig", tmp_path / "out", "train")
    assert "degraded" in catalog.open_split("restoration/rig", tmp_path / "out", "train")[0]


def test_listing_is_complete_and_names_are_unique():
    entries = catalog.listing()
    names = [entry.name for entry in entries]
    assert len(set(names)) == len(names)
    assert {*REAL, "pairs/folders", "restoration/folders"} < set(names)
    for entry in entries:
        assert entry.row.description and entry.row.licence and entry.row.download
        assert entry.row.verified == (entry.name in REAL)
        assert entry.row.verified <= bool(entry.row.citation and entry.row.homepage)


def test_the_table_of_the_docs_is_the_listing():
    text = (pathlib.Path(__file__).parents[2] / "docs/data.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    told = [[row[0], row[1], row[3]] for row in rows if row[-1] in ("yes", "no")]
    assert told == [[entry.name, entry.builder, "yes" if entry.row.verified else "no"] for entry in catalog.listing()]


@pytest.mark.parametrize("name", REAL)
def test_real_images(name, shared_data, tmp_path):
    assert catalog.build(name, shared_data, tmp_path).counts == REAL[name]
    example = catalog.open_split(name, tmp_path, "test")[0]
    folder, *parts = FOLDERS[name]
    for kind, part in zip(("infrared", "visible") if len(parts) == 2 else ("reference",), parts, strict=True):
        (file,) = (shared_data / folder / part).glob(example["id"].decode() + ".*")
        pixels = np.asarray(Image.open(file).convert("L" if kind == "infrared" else "RGB"), np.float32)
        stored = example[kind][..., 0] if kind == "infrared" else example[kind]
        assert stored.dtype == np.uint8
        np.testing.assert_allclose(stored, pixels, atol=3)  # JPEG decoders differ by rounding


@pytest.mark.parametrize("name", REAL)
def test_real_images_keep_their_published_split(name, shared_data):
    (row,) = [entry.row for entry in catalog.listing() if entry.name == name]
    found = find_examples(find_layout(row, shared_data), shared_data)
    with open(shared_data / "splits.csv") as file:
        lines = [line for line in csv.DictReader(file) if line["folder"] == FOLDERS[name][0]]
    assert {example.id: split for split, members in found.items() for example in members} == {
        line["stem"]: line["split"] for line in lines
    }


def test_tensorflow_is_never_imported(source, tmp_path):
    code = (
        "import sys\n"
        "from lure_jax.data import catalog\n"
        "source, out = sys.argv[1:]\n"
        "catalog.build('pairs/folders', source, out)\n"
        "catalog.build('clean', source + '/visible', out)\n"
        "assert catalog.open_split('folders', out, 'train')[0]['visible'].shape == (6, 8, 3)\n"
        "assert catalog.open_split('clean', out, 'val')[0]['degraded'].shape == (6, 8, 3)\n"
        "assert not {'tensorflow', 'torch'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
