"""Crops with labels and boxes, and the targets made of boxes."""

import jax.numpy as jnp
import numpy as np
import pytest

from lure_jax.data.judged import UNKNOWN, JudgedSample, at_stride, centre_targets
from lure_jax.models.detection import CentreMaps, find_boxes


def logit(p):
    return np.log(p / (1 - p))


def test_the_targets_of_boxes_are_found_again_as_these_boxes():
    boxes = np.array([[8, 12, 40, 30], [50, 60, 62, 100], [70, 5, 90, 45.0]], np.float32)
    labels = np.array([0, 2, 1])
    targets = centre_targets(boxes, labels, crop=128, classes=3)
    heat = logit(np.clip(targets["heat"], 1e-4, 1 - 1e-4))
    maps = CentreMaps(*(jnp.asarray(x)[None] for x in (heat, targets["log_size"], targets["offset"])))
    found = find_boxes(maps)
    sure = np.asarray(found.score[0]) > 0.99
    order = np.argsort(np.asarray(found.box[0])[sure][:, 0])
    np.testing.assert_allclose(np.asarray(found.box[0])[sure][order], boxes, atol=1e-3)
    assert np.asarray(found.label[0])[sure][order].tolist() == labels.tolist()


def test_a_box_whose_centre_left_the_crop_is_no_target_and_one_at_the_edge_is_cut():
    boxes = np.array([[-30, 10, 10, 20], [-10, 40, 30, 60.0]], np.float32)
    targets = centre_targets(boxes, np.zeros(2, int), crop=64, classes=1)
    assert (targets["heat"] == 1).sum() == 1
    row, column = np.argwhere(targets["heat"][..., 0] == 1)[0]
    assert np.exp(targets["log_size"][row, column]) == pytest.approx([30, 20])  # cut to rows 0..30
    assert 4 * (row + targets["offset"][row, column, 0]) == pytest.approx(15)


def test_image_labels_and_boxes_are_cropped_and_mirrored_together():
    rng = np.random.default_rng(0)
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:26, 20:40] = 255
    element = {"image": image, "boxes": np.array([[10, 20, 26, 40]], np.float32), "box_labels": np.zeros(1, int)}
    sample = JudgedSample(crop=32, classes=1)
    seen = 0
    for _ in range(20):
        out = sample.random_map(element, rng)
        assert out["image"].shape == (32, 32, 3) and out["heat"].shape == (8, 8, 1)
        if (out["heat"] == 1).any():
            seen += 1
            row, column = np.argwhere(out["heat"][..., 0] == 1)[0]
            centre = 4 * (np.array([row, column]) + out["offset"][row, column])
            lit = np.argwhere(out["image"][..., 0] > 0)
            np.testing.assert_allclose(centre, (lit.min(0) + lit.max(0) + 1) / 2, atol=1e-4)
    assert seen > 5


def test_labels_follow_the_image_and_what_a_small_image_lacks_is_unknown():
    labels = np.arange(24 * 24).reshape(24, 24) % 9
    element = {"image": np.repeat(labels[..., None], 3, -1).astype(np.uint8), "labels": labels.astype(np.uint8)}
    out = JudgedSample(crop=32, classes=9).random_map(element, np.random.default_rng(1))
    assert out["labels"].shape == (8, 8)
    assert (out["labels"][6:] == UNKNOWN).all() and (out["labels"][:, 6:] == UNKNOWN).all()
    pixels = at_stride(np.round(255 * out["image"][..., 0]).astype(int))
    assert (pixels[:6, :6] == out["labels"][:6, :6]).all()
