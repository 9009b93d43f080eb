"""Networks that judge fused images: learn a toy task, report its scores, resume."""

import json

import numpy as np
import pytest

import train
from configs import detection, segmentation
from lure_jax.data import sources
from lure_jax.data.catalog import DataError
from lure_jax.errors import UserError
from lure_jax.evaluation import judging
from lure_jax.objectives.supervised import centre_loss, label_loss


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("data"))
    sources.prepare(shrunk(segmentation, "visible", folder))
    return folder


def shrunk(recipe, method, data_dir):
    config = recipe.get_config(method)
    config.data.data_dir = data_dir
    config.data.judged[0].dataset = "synthetic_scenes/debug"
    for stage in config.stages.values():
        stage.update(dict(steps=2, batch=2, crop=64, warmup=0))
    return config


def test_each_method_gives_its_own_images(data_dir):
    def images(method):
        return judging.Fused("synthetic_scenes/debug", data_dir, "train", method, "labels")

    visible, infrared, largest = images("visible"), images("infrared"), images("max")
    record = sources.catalog.open_split("synthetic_scenes/debug", data_dir, "train")[0]
    assert np.array_equal(visible[0]["image"], record["visible"])
    assert (infrared[0]["image"] == record["infrared"]).all()
    assert len(visible) == len(largest) and largest[0]["image"].mean() > visible[0]["image"].mean()
    assert np.array_equal(visible[0]["labels"], record["labels"][..., 0])


def test_boxes_are_in_pixels(data_dir):
    source = judging.Fused("synthetic_scenes/debug", data_dir, "train", "visible", "boxes")
    boxes = np.concatenate([source[i]["boxes"] for i in range(len(source))])
    assert len(boxes) and boxes[:, 2:].max() > 2 and (boxes[:, 3] <= 128).all() and (boxes[:, 2] <= 96).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "names"), [(segmentation, {"mIoU", "mAcc"}), (detection, {"AP50", "AP50:95", "AP50/person", "AP50/low"})]
)
def test_a_recipe_runs_and_writes_its_scores(recipe, names, data_dir, tmp_path):
    train.run(shrunk(recipe, "max", data_dir), str(tmp_path / "run"))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert names <= {name.removeprefix("eval/") for row in rows for name in row}
    assert not (tmp_path / "run" / "model").exists()  # it judges: there is nothing to fuse with


def test_a_data_set_without_boxes_and_a_method_that_is_none_are_named(data_dir):
    with pytest.raises(UserError, match="'nothing' is neither"):
        judging.Fused("synthetic_scenes/debug", data_dir, "train", "nothing", "labels")
    with pytest.raises(DataError, match="has no masks"):
        judging.Fused("synthetic_scenes/debug", data_dir, "train", "max", "masks")


def test_scores_of_a_perfect_and_of_a_constant_segmentation():
    labels = np.zeros((16, 16), np.uint8)
    labels[:4], labels[12:] = 1, 255  # a quarter of the rows is unknown: 4 rows of class 1, 8 of class 0
    source = [{"image": np.zeros((16, 16, 3), np.uint8), "labels": labels}]
    row = segmentation.get_config().data.judged[0]

    def say(answer):
        return lambda image: np.eye(len(row.classes), dtype=np.float32)[answer][None]

    perfect = judging.segmentation_scores(say(np.where(labels == 255, 0, labels)), source, row)
    constant = judging.segmentation_scores(say(np.zeros((16, 16), int)), source, row)
    assert perfect["mIoU"] == perfect["mAcc"] == 1
    assert constant["mIoU"] == pytest.approx((8 / 12 + 0) / 2) and constant["mAcc"] == pytest.approx(0.5)
    assert set(constant) == {"mIoU", "mAcc", "IoU/unlabelled", "IoU/car"}


def test_the_losses_against_their_formulas():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(1, 3, 3, 4)).astype(np.float32), rng.integers(0, 4, (1, 3, 3))
    labels[0, 0, 0] = 255
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    known = [(i, j) for i in range(3) for j in range(3) if labels[0, i, j] != 255]
    expected = -np.mean([np.log(p[0, i, j, labels[0, i, j]]) for i, j in known])
    assert float(label_loss(logits, labels)[0]) == pytest.approx(expected, rel=1e-5)

    heat = np.array([1.0, 0.5, 0.0], np.float32).reshape(1, 1, 3, 1)
    maps = judging.find_boxes.__annotations__["maps"](
        np.array([0.3, -0.2, 1.0], np.float32).reshape(1, 1, 3, 1), np.ones((1, 1, 3, 2)), np.full((1, 1, 3, 2), 0.25)
    )
    terms = centre_loss(maps, heat, np.full((1, 1, 3, 2), 3.0), np.full((1, 1, 3, 2), 0.5))
    q = 1 / (1 + np.exp(-np.array([0.3, -0.2, 1.0])))
    expected = -((1 - q[0]) ** 2 * np.log(q[0]) + 0.5**4 * q[1] ** 2 * np.log(1 - q[1]) + q[2] ** 2 * np.log(1 - q[2]))
    assert float(terms["heat"]) == pytest.approx(expected, rel=1e-5)
    assert float(terms["log_size"]) == pytest.approx(4) and float(terms["offset"]) == pytest.approx(0.5)
