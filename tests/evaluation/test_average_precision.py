"""Average precision against pycocotools and small cases."""

import contextlib
import io

import numpy as np
import pytest

from lure_jax.evaluation import average_precision as ap
from lure_jax.evaluation.average_precision import Found, Truth

CLASSES = ("person", "car")


def random_images(rng, images=12):
    """Truths, and detections that are often near one of them."""
    pairs = []
    for _ in range(images):
        count = int(rng.integers(0, 6))
        corner, size = rng.uniform(0, 80, (count, 2)), rng.uniform(10, 40, (count, 2))
        truth = Truth(np.concatenate([corner, corner + size], 1), rng.integers(0, 2, count))
        near = truth.box[rng.integers(0, count, 8)] + rng.normal(0, 1.5, (8, 4)) if count else np.zeros((0, 4))
        corner = rng.uniform(0, 80, (4, 2))
        box = np.concatenate([near, np.concatenate([corner, corner + rng.uniform(10, 40, (4, 2))], 1)])
        found = Found(box, rng.uniform(size=len(box)), rng.integers(0, 2, len(box)))
        pairs.append((found, truth))
    return pairs


def ours(pairs):
    return ap.scores({name: [ap.match(*pair, label) for pair in pairs] for label, name in enumerate(CLASSES)})


def coco(pairs):
    """The same numbers by pycocotools: AP50 and AP50:95 of each class."""
    tools, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")

    def xywh(box):
        return [box[1], box[0], box[3] - box[1], box[2] - box[0]]

    truths, results = [], []
    for image, (found, truth) in enumerate(pairs):
        for box, label in zip(truth.box, truth.label, strict=True):
            area = float(np.prod(box[2:] - box[:2]))
            truths.append(dict(id=len(truths) + 1, image_id=image, category_id=int(label), bbox=xywh(box), area=area,
                               iscrowd=0))  # fmt: skip
        for box, score, label in zip(*found, strict=True):
            results.append(dict(image_id=image, category_id=int(label), bbox=xywh(box), score=float(score)))
    with contextlib.redirect_stdout(io.StringIO()):
        data = tools.COCO()
        data.dataset = dict(
            info={}, images=[dict(id=i) for i in range(len(pairs))], annotations=truths,
            categories=[dict(id=k, name=name) for k, name in enumerate(CLASSES)],
        )  # fmt: skip
        data.createIndex()
        judge = evaluation.COCOeval(data, data.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 2]  # thresholds, recalls, classes; all areas, 100 detections
    table = {f"AP50/{name}": precision[0, :, k].mean() for k, name in enumerate(CLASSES)}
    return table | {f"AP50:95/{name}": precision[:, :, k].mean() for k, name in enumerate(CLASSES)}


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_pycocotools(seed):
    pairs = random_images(np.random.default_rng(seed))
    expected, found = coco(pairs), ours(pairs)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_half_the_boxes_found_with_one_false_alarm_between():
    truth = Truth(np.array([[0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50], [60, 60, 70, 70.0]]), np.zeros(4, int))
    box = np.array([[0, 0, 10, 10], [80, 80, 90, 90], [20, 20, 30, 30.0]])
    found = Found(box, np.array([0.9, 0.8, 0.7]), np.zeros(3, int))
    precision = ap.average_precision([ap.match(found, truth, 0)])
    # precision 1 up to recall 1/4 (26 of 101 points), 2/3 up to 1/2 (25 points), 0 beyond
    np.testing.assert_allclose(precision, (26 + 25 * 2 / 3) / 101)


def test_a_truth_is_found_once_and_a_worse_box_counts_at_loose_thresholds_alone():
    truth = Truth(np.array([[0, 0, 10, 10.0]]), np.zeros(1, int))
    twice = Found(np.array([[0, 0, 10, 10], [0, 0, 10, 9.0]]), np.array([0.5, 0.9]), np.zeros(2, int))
    matches = ap.match(twice, truth, 0)
    assert matches.right.sum(1).tolist() == [1] * len(ap.THRESHOLDS)
    assert matches.right[0].tolist() == [True, False] and matches.right[-1].tolist() == [False, True]


def test_a_class_that_does_not_occur_is_left_out_of_the_mean():
    box, person = np.array([[0, 0, 9, 9.0]]), np.zeros(1, int)
    scores = ours([(Found(box, np.ones(1), person), Truth(box, person))])
    assert np.isnan(scores["AP50/car"]) and scores["AP50"] == 1


def test_the_interval_holds_the_mean_and_is_a_point_where_all_images_are_alike():
    rng = np.random.default_rng(0)
    pairs = random_images(rng)
    matches = {name: [ap.match(*pair, label) for pair in pairs] for label, name in enumerate(CLASSES)}
    low, high = ap.interval(matches, draws=50)["AP50"]
    assert low < ap.scores(matches)["AP50"] < high
    alike = {"person": [matches["person"][3]] * 5}
    low, high = ap.interval(alike, draws=10)["AP50"]
    assert np.isclose(low, high) or np.isnan(low)
