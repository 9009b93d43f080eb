"""Which files become one example, and to which split it goes."""

import pytest
from etils import epath

from tfds_builders.files import DataError, find_examples, find_layout, hashed_split
from tfds_builders.layouts import Folders, Hashed, Layout, Listed, Row

WORDS = dict(homepage="", citation="", licence="", download="", verified=False)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def ids(splits):
    return {split: [example.id for example in examples] for split, examples in splits.items()}


def test_hashed_split_is_frozen():
    # First 8 hex digits of the SHA-256 modulo 10: 8 is val, 9 is test.
    golden = {"FLIR_00006": "test", "Canon5D2_5_160_3200_chair": "train", "8": "val"}
    assert {scene: hashed_split(scene) for scene in golden} == golden


def test_hashed_split_has_the_stated_proportions():
    splits = [hashed_split(str(number)) for number in range(10_000)]
    assert abs(splits.count("train") - 8000) < 160  # 4 standard deviations
    assert abs(splits.count("val") - 1000) < 120
    assert abs(splits.count("test") - 1000) < 120


def test_scene_regex_keeps_a_scene_in_one_split(tmp_path):
    names = [f"camera{scene}_{shot}.png" for scene in range(30) for shot in range(3)]
    touch(tmp_path, *names)
    layout = Layout({"reference": "{stem}.png"}, Hashed(scene=r"(.*)_\d+"))
    splits = ids(find_examples(layout, tmp_path))
    scenes = [{name.split("_")[0] for name in members} for members in splits.values()]
    assert len(splits) == 3 and sum(map(len, scenes)) == 30


def test_unlisted_stem_names_file_and_table(tmp_path):
    touch(tmp_path, "set/a.png", "set/b.png")
    (tmp_path / "splits.csv").write_text("folder,stem,split\nset,a,test\nother,b,train\n")
    with pytest.raises(DataError, match=r"set/b\.png has no line in .*splits\.csv"):
        find_examples(Layout({"reference": "set/{stem}.*"}, Listed("set")), tmp_path)


def test_listed_table_is_missing_or_wrong(tmp_path):
    touch(tmp_path, "set/a.png")
    layout = Layout({"reference": "set/{stem}.*"}, Listed("set"))
    with pytest.raises(DataError, match="splits.csv is missing"):
        find_examples(layout, tmp_path)
    (tmp_path / "splits.csv").write_text("folder,stem,split\nset,a,dev\n")
    with pytest.raises(DataError, match="assigns set,a to 'dev'"):
        find_examples(layout, tmp_path)


def test_a_tenth_of_train_is_val_only_where_no_folder_is(tmp_path):
    touch(tmp_path, *(f"{folder}/{number}.png" for folder in ("train", "test") for number in range(40)))
    files = {"reference": "{split}/{stem}.png"}
    splits = ids(find_examples(Layout(files, Folders({"train": "train", "test": "test"})), tmp_path))
    assert splits["val"] and sorted(splits["train"] + splits["val"], key=int) == [str(n) for n in range(40)]
    assert len(splits["test"]) == 40
    splits = ids(find_examples(Layout(files, Folders({"train": "train", "test": "val"})), tmp_path))
    assert {split: len(members) for split, members in splits.items()} == {"train": 40, "val": 40}


def test_other_folders_and_hidden_files_are_left_alone(tmp_path):
    touch(tmp_path, "train/a.png", "extra/b.png", "train/.c.png", "train/deeper/d.png")
    layout = Layout({"reference": "{split}/{stem}.png"}, Folders({"train": "train", "val": "val"}))
    assert ids(find_examples(layout, tmp_path)) == {"train": ["a"]}


def test_many_degraded_files_share_one_reference(tmp_path):
    touch(tmp_path, "in/room/1.png", "in/room/2.png", "out/room.png")
    layout = Layout({"degraded": "in/{scene}/{stem}.png", "reference": "out/{scene}.png"}, Hashed())
    (examples,) = find_examples(layout, tmp_path).values()
    assert [(example.id, example.paths["reference"].name) for example in examples] == [
        ("room_1", "room.png"),
        ("room_2", "room.png"),
    ]


def test_first_layout_with_files_wins_and_empty_optional_roles_go(tmp_path):
    touch(tmp_path, "new/vi/a.png", "new/ir/a.png", "old/vi/a.png")
    roles = ("vi", "ir", "labels")
    names = {"vi": "visible", "ir": "infrared", "labels": "labels"}
    layouts = tuple(
        Layout({names[role]: f"{place}/{role}/{{stem}}.*" for role in roles}, Hashed())
        for place in ("none", "new", "old")
    )
    layout = find_layout(Row(name="x", layouts=layouts, **WORDS), tmp_path)
    assert layout.files == {"visible": "new/vi/{stem}.*", "infrared": "new/ir/{stem}.*"}


def test_source_without_files_or_missing(tmp_path):
    row = Row(name="mine", layouts=(Layout({"visible": "vi/{stem}.*"}, Hashed()),), **WORDS)
    with pytest.raises(DataError, match=r"holds no file vi/\{stem\}\.\*, as data set 'mine' needs"):
        find_layout(row, tmp_path)
    with pytest.raises(DataError, match="nowhere does not exist"):
        find_layout(row, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("vi/b.png", r"vi/b\.png has no partner .*ir/b\.\*"),
        ("ir/b.png", r"ir/b\.png has no partner .*vi/b\.\*"),
        ("vi/a.jpg", r"vi/a\.jpg and .*vi/a\.png have the same stem"),
    ],
)
def test_unpaired_and_double_stems(tmp_path, extra, message):
    touch(tmp_path, "vi/a.png", "ir/a.tif", extra)
    layout = Layout({"visible": "vi/{stem}.*", "infrared": "ir/{stem}.*"}, Hashed())
    with pytest.raises(DataError, match=message):
        find_examples(layout, epath.Path(tmp_path))
