"""The synthetic scenes: geometry against the pinhole model, what each sensor must see, the builder."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tfds_builders.scene_actors import car, person
from tfds_builders.scene_canvas import ALBEDO, HEAT, Camera, Canvas, limb, noise_tile
from tfds_builders.scene_render import BOX_CLASSES, CLASSES, DENSE_CLASSES, _infrared, _visible, render_scene
from tfds_builders.scene_street import World, sign

ROOT = pathlib.Path(__file__).resolve().parents[2]
LABEL_OF_BOX = {"person": "person", "bicycle": "bike", "car": "car"}
NIGHT = World(night=True, air=8.0, sun=np.zeros(3), bend=0.0, road=4.0, walk=2.0)
CAMERA = Camera(height=120, width=160, focal=150.0, center=80.0, horizon=55.0, eye=1.5)


@pytest.fixture(scope="module")
def scenes():
    return [render_scene(3, index) for index in range(24)]


def luma(visible):
    return visible.astype(float) @ (0.299, 0.587, 0.114)


def empty_canvas(heat=8.0):
    canvas = Canvas(CAMERA, np.random.default_rng(0))
    canvas.planes[HEAT] = heat
    canvas.planes[ALBEDO] = 0.1
    canvas.planes[-1] = 0.1
    return canvas


def test_equal_arguments_give_equal_bytes_and_others_do_not(scenes):
    again = render_scene(3, 5)
    for one, other in zip(scenes[5], again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(scenes[5].visible, scenes[6].visible)
    assert not np.array_equal(scenes[5].visible, render_scene(4, 5).visible)


@pytest.mark.parametrize(("height", "width"), [(33, 70), (240, 320), (300, 200), (130, 650)])
def test_any_size(height, width):
    scene = render_scene(1, 2, height, width)
    assert (scene.visible.shape, scene.visible.dtype) == ((height, width, 3), np.uint8)
    assert (scene.infrared.shape, scene.infrared.dtype) == ((height, width, 1), np.uint8)
    assert (scene.labels.shape, scene.labels.dtype) == ((height, width), np.uint8)
    assert (scene.dense_labels.shape, scene.dense_labels.dtype) == ((height, width), np.uint8)
    assert scene.boxes.dtype == np.float32 and scene.box_classes.dtype == np.int32
    assert scene.boxes.shape == (len(scene.box_classes), 4)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="at least 32, got 16x320"):
        render_scene(0, 0, 16, 320)
    with pytest.raises(ValueError, match="index=-1"):
        render_scene(0, -1)


def test_boxes_hold_the_labels_of_their_class(scenes):
    for scene in scenes:
        assert np.all((scene.boxes >= 0) & (scene.boxes <= 1))
        for box, kind in zip(scene.boxes, scene.box_classes, strict=True):
            y0, x0, y1, x1 = np.rint(box * (240, 320, 240, 320)).astype(int)
            assert y1 > y0 and x1 > x0
            inside = scene.labels[y0:y1, x0:x1] == CLASSES.index(LABEL_OF_BOX[BOX_CLASSES[kind]])
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_every_class_and_both_times_of_day_occur(scenes):
    assert set(np.concatenate([np.unique(scene.labels) for scene in scenes])) == set(range(len(CLASSES)))
    assert set(np.concatenate([scene.box_classes for scene in scenes])) == {0, 1, 2}
    assert 5 < sum(scene.night for scene in scenes) < 19


def test_dense_labels_leave_nothing_unlabelled_and_are_the_labels_elsewhere(scenes):
    for scene in scenes:
        labelled = scene.labels > 0
        np.testing.assert_array_equal(scene.dense_labels[labelled], scene.labels[labelled])
        assert np.all(scene.dense_labels[~labelled] >= len(CLASSES))
    found = np.concatenate([np.unique(scene.dense_labels) for scene in scenes])
    assert set(found) == set(range(1, len(DENSE_CLASSES)))


def test_dense_labels_name_what_is_there(scenes):
    """The sky is above, the road below; trees are green by day, and nothing is colder than the sky."""
    rows = np.arange(240)[:, None] * np.ones(320)

    def of(scene, name):
        return scene.dense_labels == DENSE_CLASSES.index(name)

    for scene in scenes:
        sky, road = of(scene, "sky"), of(scene, "road")
        assert rows[sky].max() < 0.55 * 240 and rows[road].min() > 0.4 * 240
        assert np.median(scene.infrared[sky]) < np.median(scene.infrared[~sky])
    by_day = [scene for scene in scenes if not scene.night]
    leaves = np.concatenate([scene.visible[of(scene, "vegetation")] for scene in by_day]).mean(0)
    walls = np.concatenate([scene.visible[of(scene, "building")] for scene in by_day]).mean(0)
    assert leaves[1] > leaves[0] and leaves[1] > leaves[2] and walls[0] > walls[1]


def test_pinhole_projection():
    pixels = CAMERA.project([(0, 1.5, 10), (2, 0, 10), (-1, 0, 30)])
    np.testing.assert_allclose(pixels, [(80, 55), (80 + 30, 55 + 22.5), (80 - 5, 55 + 7.5)])
    np.testing.assert_allclose(
        CAMERA.upright(2.0, 10.0, base=0.5)([(0.5, 1.0)]), CAMERA.project([(2.5, 1.5, 10)])
    )


def test_a_person_has_the_size_the_pinhole_model_gives():
    canvas = empty_canvas()
    person(canvas, NIGHT, np.random.default_rng(1), x=0.0, z=6.0, facing=1)
    rows, cols = np.nonzero(canvas.labels == 2)
    feet, height = 55 + 150 * 1.5 / 6, 150 * 1.77 / 6
    assert abs(rows.max() - feet) < 3
    assert 0.9 * height < np.ptp(rows) < 1.07 * height
    assert abs(cols.mean() - 80) < 5


def test_mask_coverage_is_the_polygons_area():
    polygon = np.array([(20.3, 30.2), (60.9, 34.0), (48.1, 71.7)])
    (x0, y0), (x1, y1), (x2, y2) = polygon
    area = abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)) / 2
    assert empty_canvas().mask([polygon]).alpha.sum() == pytest.approx(area, rel=0.03)
    assert empty_canvas().mask([polygon + 500]) is None
    assert empty_canvas().mask([limb((50, 50), (50, 60), 4, 4)]).alpha.max() == 1.0


def test_both_modalities_see_an_edge_at_the_same_place():
    canvas = empty_canvas()
    square = np.array([(60, 40), (100, 40), (100, 80), (60, 80)], float)
    canvas.fill([square], (0.9, 0.9, 0.9), 20.0, 0.1, emit=(0.4, 0.4, 0.4), texture=0, heat_texture=0)
    rng = np.random.default_rng(0)
    for image in (luma(_visible(canvas, NIGHT, rng)), _infrared(canvas, NIGHT, rng).astype(float)):
        for profile in (image[50:70].mean(0)[45:75], image[:, 70:90].mean(1)[25:55]):
            step = np.maximum(np.diff(profile), 0)
            step[step < 0.3 * step.max()] = 0  # without the halo
            position = (step * np.arange(1, 30)).sum() / step.sum()
            assert abs(position - 15) < 0.35


def contrast(image, inside):
    rows, cols = np.nonzero(inside)
    window = np.s_[max(rows.min() - 8, 0) : rows.max() + 8, max(cols.min() - 8, 0) : cols.max() + 8]
    near, inside = image[window], inside[window]
    return near[inside].mean() - near[~inside].mean()


def test_people_at_night_are_warm_in_infrared_and_hardly_seen_in_the_visible(scenes):
    seen = []
    for scene in scenes:
        people = scene.labels == 2
        if scene.night and people.sum() > 150:
            seen.append(
                (
                    contrast(luma(scene.visible), people),
                    contrast(scene.infrared[..., 0].astype(float), people),
                )
            )
    visible, infrared = np.mean(seen, 0)
    assert len(seen) >= 4
    assert infrared > 40 and visible < 15


def test_sky_by_day_is_bright_in_the_visible_and_cold_in_infrared(scenes):
    days = [scene for scene in scenes if not scene.night]
    top = np.concatenate([scene.visible[:12].reshape(-1, 3) for scene in days]).astype(float)
    cold = np.concatenate([scene.infrared[:12].ravel() for scene in days])
    blue = (top[:, 2] > top[:, 0] + 5) & (luma(top) > 120)
    assert blue.mean() > 0.1
    assert np.median(cold[blue]) < 50


def test_headlights_glare_in_the_visible_only():
    canvas = empty_canvas()
    car(canvas, NIGHT, np.random.default_rng(2), 0.0, 9.0, 0.0, running=True)
    rng = np.random.default_rng(0)
    visible, infrared = luma(_visible(canvas, NIGHT, rng)), _infrared(canvas, NIGHT, rng).astype(float)
    glare = visible > 240
    assert glare.sum() > 20
    assert infrared[glare].mean() < infrared[canvas.labels == 1].max() - 30


def test_print_on_a_sign_does_not_show_in_infrared():
    canvas = empty_canvas()
    sign(canvas, NIGHT, np.random.default_rng(0), 0.0, 6.0)
    board = canvas.mask(
        [CAMERA.upright(0.0, 6.0)([(-0.25, 2.45), (0.25, 2.45), (0.25, 2.95), (-0.25, 2.95)])]
    )
    reflectance = canvas.planes[0, board.rows, board.cols]
    assert reflectance.std() > 0.1
    assert canvas.planes[HEAT, board.rows, board.cols].std() < 0.6


def test_noise_has_the_spectrum_it_names():
    noise = noise_tile(1.4)[:512, :512]
    power = np.abs(np.fft.fft2(noise))[0, 4:128]
    slope = np.polyfit(np.log(np.arange(4, 128)), np.log(power), 1)[0]
    assert slope == pytest.approx(-1.4, abs=0.2)
    assert abs(noise.mean()) < 1e-3 and noise.std() == pytest.approx(1, abs=1e-3)


def test_natural_texture_everywhere(scenes):
    for scene in scenes[:6]:
        blocks = luma(scene.visible)[120:].reshape(15, 8, 40, 8)
        assert (blocks.std((1, 3)) > 0.8).mean() > 0.98


_BUILD = """
import sys
import numpy as np
from tfds_builders.synthetic_scenes import SyntheticScenes, SyntheticScenesConfig, render_scene
config = SyntheticScenesConfig(
    name="small", count_train=3, count_val=0, count_test=2, height=64, width=80, seed=9)
builder = SyntheticScenes(config=config, data_dir=sys.argv[1], file_format="array_record")
builder.download_and_prepare()
assert set(builder.info.splits) == {"train", "test"}
ids = {}
for split in ("train", "test"):
    source = builder.as_data_source(split=split)
    ids[split] = set()
    for example in source:
        assert set(example) == {
            "id", "visible", "infrared", "labels", "dense_labels", "boxes", "night"
        }, set(example)
        seed, index = map(int, example["id"].decode().split("_"))
        scene = render_scene(seed, index, 64, 80)
        np.testing.assert_array_equal(example["visible"], scene.visible)
        np.testing.assert_array_equal(example["infrared"], scene.infrared)
        np.testing.assert_array_equal(example["labels"][..., 0], scene.labels)
        np.testing.assert_array_equal(example["dense_labels"][..., 0], scene.dense_labels)
        np.testing.assert_array_equal(np.reshape(example["boxes"]["bbox"], (-1, 4)), scene.boxes)
        np.testing.assert_array_equal(example["boxes"]["label"], scene.box_classes)
        assert bool(example["night"]) == scene.night
        ids[split].add(index)
assert (len(ids["train"]), len(ids["test"])) == (3, 2)
assert not ids["train"] & ids["test"]
assert "tensorflow" not in sys.modules and "torch" not in sys.modules
print("built")
"""


def test_builder_writes_what_the_renderer_gives_without_tensorflow(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", _BUILD, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.strip().endswith("built")
