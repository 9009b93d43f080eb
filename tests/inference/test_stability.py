"""Videos that do not flicker and do not smear."""

import numpy as np
import pytest
from PIL import Image
from test_tiles import IMAGES

from lure_jax.data import tonemap
from lure_jax.inference import stability
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.prompt import AUTO, SLOTS, Prompt
from lure_jax.inference.stability import Steady
from lure_jax.text.conditions import condition_id
from lure_jax.text.prompts import PROMPT_CONDITIONS

EVERYTHING = np.full(SLOTS, AUTO, np.int32)
PROMPT = Prompt(EVERYTHING, EVERYTHING, ())


class Mirror:
    """A fuser that returns the visible image, so that what is seen is the stabiliser's alone."""

    thresholds = np.full(13, 0.5, np.float32)
    fit_tone = staticmethod(tonemap.percentile)

    def __init__(self):
        self.seen, self.given = [], []

    def parts(self, frames, prompt, given=None, measure=False):
        self.seen.append(frames)
        self.given.append(given)
        visible = frames["visible"].astype(np.float32) / 255
        return [(slice(0, len(visible)), visible[None])], {}


def _noisy(image, sigma, rng):
    return np.clip(np.round(image + rng.normal(0, sigma, image.shape)), 0, 255).astype(np.uint8)


def _run(frames, average=8, fuser=None):
    steady = Steady(fuser or Mirror(), PROMPT, average)
    return np.stack([steady(frame) for frame in frames]).astype(np.float32)


def _scene(size=(96, 128)):
    rng = np.random.default_rng(1)
    visible = np.repeat(np.repeat(rng.uniform(30, 220, (size[0] // 8, size[1] // 8, 3)), 8, 0), 8, 1)
    return visible, visible[..., 0] / 2 + 40


@pytest.mark.parametrize("sigma", [2, 10, 25])
def test_a_still_scene_is_averaged(sigma):
    visible, infrared = _scene()
    rng = np.random.default_rng(0)
    frames = [{"visible": _noisy(visible, sigma, rng), "infrared": _noisy(infrared, sigma, rng)} for _ in range(24)]
    plain, steady = (_run(frames, average)[8:] for average in (1, 8))
    np.testing.assert_array_equal(plain, [frame["visible"] for frame in frames[8:]])
    assert plain.std(0).mean() > 2.5 * steady.std(0).mean()
    assert np.abs(steady.mean(0) - plain.mean(0)).mean() < sigma / 2  # and it is still the same picture


@pytest.mark.parametrize("modality", ["visible", "infrared"])
@pytest.mark.parametrize("sigma", [2, 10])
def test_nothing_trails_behind_what_moves_in_either_camera(modality, sigma):
    visible, infrared = _scene()
    visible[:], infrared[:] = 100, 100
    rng = np.random.default_rng(0)
    frames, truth = [], []
    for k in range(14):
        scene = {"visible": visible.copy(), "infrared": infrared.copy()}
        scene[modality][30:60, 6 * k : 6 * k + 20] += 60
        frames.append({name: _noisy(image, sigma, rng) for name, image in scene.items()})
        truth.append(scene["visible"])
    results = _run(frames)
    error = (results - truth)[6:, 30:60]
    assert abs(error.mean()) < sigma / 5 and np.abs(error.mean((0, 1, 3))).max() < sigma
    off = _run([dict(frame, **{modality: frames[0][modality]}) for frame in frames])
    assert off.shape == results.shape


def test_a_pan_is_left_alone():
    """Where everything moves there is no noise to be measured from frame to frame, and nothing may be averaged."""
    rng = np.random.default_rng(0)
    wide = np.repeat(np.repeat(rng.uniform(30, 220, (12, 60, 3)), 8, 0), 8, 1)
    frames = [
        {"visible": _noisy(wide[:, 10 * k : 10 * k + 160], 3, rng), "infrared": np.full((96, 160), 50, np.uint8)}
        for k in range(12)
    ]
    results = _run(frames)
    sharp = np.stack([frame["visible"] for frame in frames]).astype(np.float32)
    assert np.abs(results - sharp)[1:].mean() < 3


def test_a_cut_forgets_everything():
    rng = np.random.default_rng(0)
    one = {"visible": _noisy(np.full((64, 64, 3), 40.0), 5, rng), "infrared": _noisy(np.full((64, 64), 30.0), 5, rng)}
    other = {"visible": np.full((64, 64, 3), 200, np.uint8), "infrared": np.full((64, 64), 220, np.uint8)}
    results = _run([one, one, one, other])
    np.testing.assert_array_equal(results[-1], other["visible"])


def test_radiometric_frames_get_one_slowly_changing_curve():
    rng = np.random.default_rng(0)
    mirror = Mirror()
    frame = rng.normal(8000, 50, (64, 64))
    thermal = [np.round(frame + (400 if k == 6 else 0) * (frame > 8080)).astype(np.uint16) for k in range(8)]
    _run([{"visible": np.zeros((64, 64, 3), np.uint8), "infrared": image} for image in thermal], fuser=mirror)
    shown = [seen["infrared"] for seen in mirror.seen]
    assert all(image.dtype == np.float32 for image in shown)
    alone = [tonemap.percentile(image)(image) for image in thermal]
    jump, plain = (np.abs(images[6] - images[5])[frame < 8080].mean() for images in (shown, alone))
    assert 0 < jump < plain / 3


def test_a_condition_comes_and_goes_only_clearly():
    scene = stability._Scene(Mirror(), PROMPT, 8, {"visible": np.zeros((8, 8, 3), np.uint8)})
    noise = condition_id("visible", "noise")

    def found(probability):
        logits = np.full((1, 13), -9.0, np.float32)
        logits[0, noise] = np.log(probability / (1 - probability))
        ids = scene._answer("visible", logits)
        scene._asked = scene._asked._replace(visible=ids)
        return noise in PROMPT_CONDITIONS[ids[ids >= 0]]

    assert [found(p) for p in (0.48, 0.55, 0.62, 0.45, 0.55, 0.38, 0.52)] == [
        False, False, True, True, True, False, False,
    ]  # fmt: skip


def test_a_statistic_that_a_frame_lacks_is_forgotten():
    frame = {"visible": np.zeros((8, 8, 3), np.uint8)}
    scene = stability._Scene(Mirror(), PROMPT._replace(visible=np.zeros(SLOTS, np.int32)), 8, frame)

    def learn(**measured):
        scene._seen += 1
        logits = {"visible/logits": np.zeros((1, 13), np.float32)}
        scene._learn(logits | {f"visible/{name}": {"sums": np.float32(value)} for name, value in measured.items()})
        return {name: float(sums["sums"]) for name, sums in scene._statistics.items()}

    assert learn(down=1) == {"visible/down": 1}
    assert learn(down=3, repaired=8) == {"visible/down": 2, "visible/repaired": 8}
    assert learn(down=2, repaired=5) == {"visible/down": 2, "visible/repaired": 7}
    assert learn(down=2) == {"visible/down": 2}
    assert learn(down=2, repaired=4) == {"visible/down": 2, "visible/repaired": 4}


@pytest.mark.slow
def test_the_network_flickers_at_least_twice_less():
    fuser = Fuser.load("lure_tiny")
    visible, infrared = (
        np.asarray(Image.open(IMAGES / f"{name}.png").convert(mode).resize((96, 64)), np.float32)
        for name, mode in (("visible", "RGB"), ("infrared", "L"))
    )
    rng = np.random.default_rng(0)
    frames = [{"visible": _noisy(visible, 8, rng), "infrared": _noisy(infrared, 8, rng)} for _ in range(18)]
    steady = Steady(fuser, fuser.read_prompt("auto"))
    calm = np.stack([steady(frame) for frame in frames])[8:].astype(np.float32)
    alone = [fuser.parts(frame, fuser.read_prompt("auto"), measure=True)[0] for frame in frames]
    plain = np.stack([255 * part[0] for ((_, part),) in alone])[8:]
    assert plain.std(0).mean() > 2 * calm.std(0).mean()
    assert np.abs(np.diff(plain, axis=0)).mean() > 2 * np.abs(np.diff(calm, axis=0)).mean()
    assert np.abs(plain.mean(0) - calm.mean(0)).mean() < 2
