"""The collapse monitor on constructed cases."""

import numpy as np
import pytest

from lure_jax.data.judged import UNKNOWN
from lure_jax.evaluation import segments

K = 10


def sure(answer):
    return np.eye(K, dtype=np.float32)[answer]


@pytest.fixture
def scene():
    """Four vertical stripes, at stride 4 of a 32x64 image whose luma rises from top to bottom."""
    answer = np.broadcast_to(np.repeat(np.arange(4), 4), (2, 8, 16))
    luma = np.broadcast_to((np.arange(32)[:, None, None] + 0.5) / 32, (2, 32, 64, 3)).astype(np.float32)
    return answer, luma


def no_labels():
    return np.full((2, 32, 64), UNKNOWN)


def test_useful_heads(scene):
    answer, image = scene
    labels = answer.repeat(4, 1).repeat(4, 2)
    scores = segments.judge([sure(answer), sure(9 - answer)], image, labels)
    assert scores["clusters_feature"] == scores["clusters_pixel"] == 4 and scores["agreement"] == 0
    np.testing.assert_allclose(scores["entropy_feature"], np.log(4) / np.log(10), rtol=1e-5)
    assert scores["nmi_luma_feature"] < 1e-6 and scores["collapsed"] == 0
    np.testing.assert_allclose([scores["miou_feature"], scores["miou_pixel"]], 1)
    np.testing.assert_allclose(scores["miou_luma_bins"], 1 / 11, rtol=1e-5)  # of 1/8 of a stripe: 4 of 32 + 16 - 4


def test_brightness_alone_is_seen(scene):
    _, image = scene
    bins = segments.luma_bins(image)
    scores = segments.judge([sure(bins), sure(bins)], image, no_labels())
    np.testing.assert_allclose([scores["nmi_luma_feature"], scores["agreement"]], 1)
    assert "miou_feature" not in scores and scores["clusters_pixel"] == 8


@pytest.mark.parametrize(("clusters", "collapsed"), [(1, True), (2, True), (3, False)])
def test_collapse_is_agreement_on_few_clusters(scene, clusters, collapsed):
    answer, image = scene
    p = 0.4 * sure(answer % clusters) + 0.06  # unsure, so the entropy alone would not tell
    scores = segments.judge([p, p], image, no_labels())
    assert scores["entropy_feature"] > 0.4 and bool(scores["collapsed"]) == collapsed
    assert ("agree" in segments.collapse(scores)) == collapsed


def test_collapse_of_the_marginal(scene):
    answer, image = scene
    scores = segments.judge([sure(answer % 2), sure(1 - answer % 2)], image, no_labels())
    assert scores["agreement"] == 0 and "entropy of the mean answer is 0.30" in segments.collapse(scores)


def test_a_cluster_of_few_pixels_is_not_used():
    found = np.zeros((1, 20, 20), int)
    found[0, 0, :2] = 1  # half a percent, and no more
    assert segments.clusters_used(found, K) == 1
    found[0, 0, 2] = 1
    assert segments.clusters_used(found, K) == 2


def test_hungarian_takes_each_segment_once_and_counts_classes_that_occur():
    labels = np.array([[[0, 0, 1, 1, 5, 5, 255, 255]]])
    found = np.array([[[3, 3, 3, 3, 2, 2, 7, 7]]])  # segment 3 covers two classes
    np.testing.assert_allclose(segments.hungarian_miou(found, labels), (0.5 + 0 + 1) / 3)
    perfect = np.array([[[8, 8, 1, 1, 0, 0, 4, 4]]])
    np.testing.assert_allclose(segments.hungarian_miou(perfect, labels), 1)


def test_mutual_information_ends():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 4, (2, 50_000))
    assert segments.mutual_information(one, other) < 1e-3
    np.testing.assert_allclose(segments.mutual_information(one, 3 - one), 1)
    assert segments.mutual_information(np.zeros(9, int), np.arange(9)) == 0


def test_the_sheet_shows_both_heads_and_labels_where_there_are_some(scene):
    answer, image = scene
    samples = {"visible": image, "infrared": image[..., :1], "labels": no_labels()}
    assert segments.sheet(samples, image, [answer, answer], K).shape == (2 * 32, 5 * 64, 3)
    labels = answer.repeat(4, 1).repeat(4, 2)
    sheet = segments.sheet(samples | {"labels": labels}, image, [answer, answer], K)
    assert sheet.shape == (2 * 32, 6 * 64, 3)
    assert len(np.unique(sheet[:32, 3 * 64 : 4 * 64].reshape(-1, 3), axis=0)) == 4
    assert len(np.unique(segments.palette(27), axis=0)) == 27
