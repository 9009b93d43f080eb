"""YOLO and VOC files to relative boxes."""

import pytest
from etils import epath

from tfds_builders.boxes import read_boxes
from tfds_builders.files import DataError

VOC = """<annotation><size><width>200</width><height>100</height></size>
<object><name>car</name><bndbox><xmin>20</xmin><ymin>10</ymin><xmax>60</xmax><ymax>50</ymax></bndbox></object>
</annotation>"""


def read(tmp_path, text, name="a.txt", classes=("person", "car")):
    path = epath.Path(tmp_path / name)
    path.write_text(text)
    return [(tuple(box["bbox"]), box["label"]) for box in read_boxes(path, classes)]


def test_yolo(tmp_path):
    assert read(tmp_path, "1 0.5 0.25 0.5 0.25\n\n") == [((0.125, 0.25, 0.375, 0.75), 1)]
    assert read(tmp_path, "0 0.0 0.5 0.5 1.0") == [((0.0, 0.0, 1.0, 0.25), 0)]  # clipped on the left
    assert read(tmp_path, "") == []


def test_yolo_without_class_names(tmp_path):
    assert read(tmp_path, "7 0.5 0.5 1 1", classes=()) == [((0.0, 0.0, 1.0, 1.0), 7)]


def test_voc(tmp_path):
    assert read(tmp_path, VOC, "a.xml") == [((0.1, 0.1, 0.5, 0.3), 1)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("0 0.5 0.5 0.1", "a.txt"),
        ("person 0.5 0.5 0.1 0.1", "a.txt"),
        ("2 0.5 0.5 0.1 0.1", "a.txt"),
        ("-1 0.5 0.5 0.1 0.1", "a.txt"),
        ("0 0.5 nan 0.1 0.1", "a.txt"),
        ("0 0.5 0.5 -0.1 0.1", "a.txt"),
        ("<annotation>", "a.xml"),
        ("<annotation/>", "a.xml"),
        (VOC.replace("car", "cow"), "a.xml"),
    ],
)
def test_bad_files_are_named(tmp_path, text, name):
    with pytest.raises(DataError, match=rf"{name} is not a readable box file"):
        read(tmp_path, text, name)
