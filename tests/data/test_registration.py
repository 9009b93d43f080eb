"""Registration of rendered scenes under known transforms; what must not be believed."""

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from lure_jax.data import registration as r  # noqa: E402
from tfds_builders.synthetic_scenes import render_scene  # noqa: E402


@pytest.fixture(scope="module")
def pair():
    scene = render_scene(0, 3, 240, 320)
    return scene.visible.mean(-1).astype(np.float32) / 255, scene.infrared.squeeze().astype(np.float32) / 255


def moved(infrared, pose, shape):
    """The infrared image as a camera would take it that is posed so, and the matrix from visible to it."""
    matrix = r.pose_matrix(pose, shape, infrared.shape)
    return r.warp(infrared, np.linalg.inv(matrix), infrared.shape), matrix


@pytest.mark.parametrize("pose", [r.Pose(), r.Pose(0.8, -2.0, 20, -15), r.Pose(1.25, 3.0, -12, 18)])
def test_known_transforms_are_found(pose, pair):
    visible, infrared = pair
    taken, matrix = moved(infrared, pose, visible.shape)
    found = r.register(visible, taken)
    assert found.trusted
    assert r.displacement(found.matrix, visible.shape, matrix) < 1.5
    assert found.pose.scale == pytest.approx(pose.scale, abs=0.02)
    np.testing.assert_allclose(r.pose_matrix(found.pose, visible.shape, taken.shape), found.matrix, atol=0.02)


def test_half_the_resolution(pair):
    visible, infrared = pair
    small = cv2.resize(infrared, (160, 120), interpolation=cv2.INTER_AREA)
    found = r.register(visible, small)
    expected = r.pose_matrix(r.Pose(), visible.shape, small.shape)
    np.testing.assert_allclose(expected, [[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
    assert found.trusted and r.displacement(found.matrix, visible.shape, expected) < 0.75
    assert r.warp(small, found.matrix, visible.shape).shape == visible.shape


def test_images_of_two_scenes_are_not_trusted(pair):
    other = render_scene(0, 11, 240, 320).infrared.squeeze()[:, ::-1].astype(np.float32) / 255
    assert not r.register(pair[0], other).trusted
    noise = np.random.default_rng(0).random((240, 320)).astype(np.float32)
    assert not r.register(pair[0], noise).trusted
    assert not r.register(pair[0], np.zeros((240, 320), np.float32)).trusted


def test_shift_alone(pair):
    visible, infrared = pair
    found = r.register(visible[10:, 6:], infrared[:-10, :-6], search=False)
    assert found.pose.x == pytest.approx(6, abs=0.5) and found.pose.y == pytest.approx(10, abs=0.5)


def test_pose_and_matrix_are_inverse():
    pose = r.Pose(1.1, -2.5, 7.0, -3.0)
    matrix = r.pose_matrix(pose, (240, 320), (120, 200))
    np.testing.assert_allclose(r.matrix_pose(matrix, (240, 320), (120, 200)), pose, atol=1e-9)
    assert r.displacement(matrix, (240, 320), matrix) == 0
    assert r.displacement(np.array([[1, 0, 3], [0, 1, 4], [0, 0, 1.0]]), (240, 320)) == pytest.approx(5)


def test_black_margins_are_no_content():
    image = np.random.default_rng(0).uniform(0.1, 1, (40, 50)).astype(np.float32)
    image[:, :7] = 0
    image[20, 30] = 0
    mask = r.content_mask(image)
    assert not mask[:, :7].any() and mask[:, 7:].all()
