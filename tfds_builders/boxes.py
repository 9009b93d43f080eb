"""Bounding boxes of annotation files: YOLO text and VOC XML to relative ymin, xmin, ymax, xmax and a class number."""

import xml.etree.ElementTree as ElementTree

import tensorflow_datasets as tfds
from etils import epath

from tfds_builders.files import DataError


def read_boxes(path: epath.Path, classes: tuple[str, ...]) -> list[dict]:
    """Boxes of one file; an empty file means that nothing is there.

    Args:
      path: `.xml` is read as VOC (pixels, class names), anything else as YOLO (`class cx cy w h`, 0..1).
      classes: class names in the order of the class numbers; empty: YOLO numbers are taken as they are.

    Returns:
      [{"bbox": tfds BBox clipped to the image, "label": class number}, ...]

    Raises:
      DataError: the file can't be parsed or has an unknown class; it names the file.
    """
    try:
        boxes = _voc(path, classes) if path.suffix == ".xml" else _yolo(path)
        return [{"bbox": _bbox(*corners), "label": _known(label, classes)} for corners, label in boxes]
    except (OSError, ValueError, TypeError, AttributeError, ZeroDivisionError, ElementTree.ParseError) as error:
        raise DataError(f"{path} is not a readable box file: {error}.") from error


def _yolo(path):
    boxes = []
    for line in filter(str.strip, path.read_text().splitlines()):
        label, *numbers = line.split()
        cx, cy, w, h = map(float, numbers)
        boxes.append(((cy - h / 2, cx - w / 2, cy + h / 2, cx + w / 2), int(label)))
    return boxes


def _voc(path, classes):
    root = ElementTree.fromstring(path.read_text())
    width, height = (float(root.find("size").findtext(side)) for side in ("width", "height"))
    boxes = []
    for thing in root.iter("object"):
        box = thing.find("bndbox")
        ymin, xmin, ymax, xmax = (float(box.findtext(name)) for name in ("ymin", "xmin", "ymax", "xmax"))
        name = thing.findtext("name")
        if name not in classes:
            raise ValueError(f"class {name!r} is none of {', '.join(classes)}")
        boxes.append(((ymin / height, xmin / width, ymax / height, xmax / width), classes.index(name)))
    return boxes


def _bbox(*corners):
    box = tfds.features.BBox(*(min(max(value, 0.0), 1.0) for value in corners))
    if not (box.ymin <= box.ymax and box.xmin <= box.xmax):  # also where a number is NaN
        raise ValueError(f"the box {corners} has no area")
    return box


def _known(label, classes):
    if label < 0 or (classes and label >= len(classes)):
        raise ValueError(f"class number {label} is not known")
    return label
