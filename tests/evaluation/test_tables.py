"""Tables as text and as JSON; images by split."""

import json

import numpy as np
import pytest
from PIL import Image

from lure_jax.data.catalog import DataError
from lure_jax.evaluation import real_images, tables


def test_markdown():
    rows = [{"name": "a", "dB": 1.25, "n": 3}, {"name": "b", "dB": np.float32(2), "ok": False}]
    assert tables.markdown(rows, {"dB": 1}).splitlines() == [
        "| name | dB | n | ok |",
        "| --- | --: | --: | --- |",
        "| a | 1.2 | 3 |  |",
        "| b | 2.0 |  | **no** |",
    ]


def test_bar_is_met_at_its_limit():
    assert tables.bar("x", 38.0, 38)["met"] and not tables.bar("x", 37.99, 38)["met"]


def test_json_is_plain_and_whole(tmp_path):
    path = tmp_path / "new" / "t.json"
    tables.write_json(path, {"a": [np.float32(0.5), np.nan, np.bool_(True)], "b": np.arange(2)})
    assert json.loads(path.read_text()) == {"a": [0.5, None, True], "b": [0, 1]}
    assert len(list(path.parent.iterdir())) == 1


def test_images_of_a_split(tmp_path):
    (tmp_path / "set" / "vi").mkdir(parents=True)
    for index in range(5):
        Image.fromarray(np.full((4, 6), index, np.uint8)).save(tmp_path / "set" / "vi" / f"{index}.png")
    rows = [f"set,{index},{'val' if index == 2 else 'test'}" for index in range(5)]
    (tmp_path / "splits.csv").write_text("\n".join(["folder,stem,split", *rows]))
    assert real_images.stems(tmp_path, "set", "test") == ["0", "1", "3", "4"]
    assert real_images.stems(tmp_path, "set", "test", 2) == ["0", "3"]
    (image,) = real_images.read_split(tmp_path, "set", "vi", "val", "visible")
    assert image.shape == (4, 6, 3) and (image == 2).all()
    with pytest.raises(DataError, match="no row of the folder 'other'"):
        real_images.stems(tmp_path, "other", "test")
    with pytest.raises(DataError, match="holds no image 9"):
        real_images.read(tmp_path, "set/vi", "9", "visible")


def test_rows_are_kept_as_they_are_made_and_not_made_again(tmp_path):
    path, asked = tmp_path / "work" / "rows.json", []

    def measure(arm, seed):
        if arm == "broken":
            raise RuntimeError("stopped")
        asked.append((arm, seed))
        return {"score": len(asked)}

    keys = [{"arm": "a", "seed": 0}, {"arm": "broken", "seed": 0}, {"arm": "b", "seed": 0}]
    with pytest.raises(RuntimeError):
        tables.resumed(path, keys, measure)
    assert json.loads(path.read_text())["rows"] == [{"arm": "a", "seed": 0, "score": 1}]
    rows = tables.resumed(path, [keys[0], keys[2]], measure)
    assert rows == [{"arm": "a", "seed": 0, "score": 1}, {"arm": "b", "seed": 0, "score": 2}]
    assert asked == [("a", 0), ("b", 0)] and json.loads(path.read_text())["rows"] == rows


def test_each_table_is_printed_and_given_to_the_next(capsys):
    makers = {"first": lambda _: [{"x": 1.25}], "second": lambda made: [{"twice": 2 * made["first"][0]["x"]}]}
    made = tables.print_each(makers, "val", 1)
    assert made == {"first": [{"x": 1.25}], "second": [{"twice": 2.5}]}
    out = capsys.readouterr().out
    assert "## first (val, 0 s)" in out and "| 2.5 |" in out
