"""Tone mapping of thermal frames: closed forms of all three methods."""

import numpy as np
import pytest

from lure_jax.data.tonemap import ToneMap, fit, fixed, percentile, plateau
from lure_jax.errors import UserError

FRAME = np.random.default_rng(0).normal(8000, 60, (50, 60)).astype(np.uint16)


def test_percentile_is_the_stretch_of_builders_and_fuser():
    low, high = np.percentile(FRAME, (0.1, 99.9))
    expected = np.clip((FRAME - low) / (high - low), 0, 1)
    out = percentile(FRAME)(FRAME)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_fixed_is_the_same_for_every_frame():
    curve = fixed(7000, 9000)
    np.testing.assert_allclose(curve(np.array([6000, 7000, 8000, 9000, 9999])), [0, 0, 0.5, 1, 1])
    with pytest.raises(ValueError, match="The range 2 to 1 runs downwards"):
        fixed(2, 1)


def test_flat_frames_do_not_divide_by_zero():
    for curve in (percentile(np.full((4, 4), 7)), fixed(7, 7), plateau(np.full((4, 4), 7))):
        assert np.isfinite(curve(np.full((4, 4), 7))).all()


def test_plateau_equalises_without_a_limit_and_is_straight_with_a_low_one():
    tones = plateau(FRAME, limit=1.0)(FRAME).ravel()
    assert np.abs(np.quantile(tones, [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 0.03
    values = np.linspace(0, 1, 5000) ** 0.5
    straight = plateau(values, limit=1e-6, bins=64)
    np.testing.assert_allclose(straight(values), percentile(values)(values), atol=0.02)


def test_plateau_keeps_order_and_gives_a_small_warm_object_more_contrast():
    frame = np.full((100, 100), 8000.0) + np.random.default_rng(1).normal(0, 2, (100, 100))
    frame[:10, :10] = np.random.default_rng(2).normal(8300, 30, (10, 10))
    curve = plateau(frame)
    assert (np.diff(curve.tones) >= 0).all() and curve.tones[0] == 0 and curve.tones[-1] == pytest.approx(1)
    assert curve(frame[50:]).std() > 2 * percentile(frame)(frame[50:]).std()


@pytest.mark.parametrize("curve", [percentile(FRAME), fixed(7000, 9000), plateau(FRAME)])
def test_a_curve_kept_as_text_is_the_same_again(curve):
    again = ToneMap.from_json(curve.to_json())
    assert again == curve and "\n" not in curve.to_json()
    np.testing.assert_array_equal(again(FRAME), curve(FRAME))


@pytest.mark.parametrize("curve", [percentile(FRAME), fixed(7000, 9000), plateau(FRAME)])
def test_tones_are_turned_back_to_values(curve):
    tones = np.linspace(0, 1, 256)
    values = curve.inverse(tones)
    assert (np.diff(values) > 0).all() and values[0] >= curve.values[0] and values[-1] <= curve.values[-1]
    np.testing.assert_allclose(curve(values), tones, atol=1e-6)
    if curve.method != "plateau":
        inside = np.clip(FRAME, curve.values[0], curve.values[-1])
        np.testing.assert_allclose(curve.inverse(curve(FRAME)), inside, atol=0.01)


def test_tones_of_no_width_are_turned_back_to_their_highest_value():
    curve = ToneMap("plateau", (10.0, 20.0, 30.0, 40.0), (0.0, 0.5, 0.5, 1.0))
    np.testing.assert_allclose(curve.inverse(np.array([0.0, 0.25, 0.5, 0.75, 1.0])), [10, 15, 30, 35, 40])


def test_a_method_by_its_name():
    assert fit("percentile")(FRAME) == percentile(FRAME) and fit("plateau")(FRAME) == plateau(FRAME)
    assert fit("7000:9000")(FRAME) == fixed(7000, 9000)
    assert fit(fixed(1, 2))(FRAME) == fixed(1, 2)
    for wrong in ("linear", "5:", "9:7"):
        with pytest.raises(UserError, match=f"Tone mapping '{wrong}' is none of percentile, plateau or LOW:HIGH"):
            fit(wrong)


def test_frames_must_be_finite():
    with pytest.raises(ValueError, match="not finite"):
        percentile(np.array([1.0, np.nan]))
