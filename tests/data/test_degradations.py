"""Each degradation against its formula: moments, monotone strengths, range; chains in physical order."""

import numpy as np
import pytest

from lure_jax.data import degradations as d
from lure_jax.data import depth
from lure_jax.data.kernels import disc_kernel, guided_filter, line_kernel, shift_sum, smooth_field
from lure_jax.data.strengths import Integer, LogUniform, Uniform, changed
from lure_jax.text.conditions import CONDITIONS, condition_id

# Parameters that must take the image farther from the clean one, from weak to strong.
STRONGER = {
    ("visible", "haze"): {"beta": (0.1, 0.5, 1, 2, 4), "airlight": (0.7, 0.8, 0.9, 1.0)},
    ("visible", "rain"): {
        "density": (0.001, 0.004, 0.01, 0.03),
        "length": (5, 9, 15, 21),
        "opacity": (0.2, 0.4, 0.6, 0.8),
        "veil": (0.0, 0.06, 0.12, 0.3),
    },
    ("visible", "snow"): {
        "small": (0.6, 0.9, 1.2),
        "large": (1.5, 2.5, 3.5),
        "small_density": (0.002, 0.005, 0.02),
        "large_density": (0.0005, 0.001, 0.005),
        "opacity": (0.3, 0.6, 0.9),
        "motion": (1, 3, 5),
        "veil": (0.0, 0.1, 0.2, 0.4),
    },
    ("visible", "blur"): {"length": (3, 7, 11, 15), "radius": (1.0, 2.0, 3.0)},
    ("visible", "low_light"): {"gain": (0.3, 0.1, 0.03, 0.01, 0.003)},
    ("visible", "over_exposure"): {"gain": (1.2, 2, 3, 4.5)},
    ("visible", "noise"): {"sd": (1, 3, 10, 30, 60), "grain_sd": (0.5, 0.7, 1.0)},
    ("infrared", "blur"): {"length": (3, 7, 11, 15), "radius": (1.0, 2.0, 3.0)},
    ("infrared", "low_contrast"): {"contrast": (0.9, 0.6, 0.4, 0.15)},
    ("infrared", "noise"): {"sd": (1, 3, 10, 30, 60), "dead": (0.0, 0.002, 0.02)},
    ("infrared", "stripe"): {"sd": (1, 3, 6, 12)},
}


def rng(seed=0):
    return np.random.default_rng(seed)


def picture(channels, size=64):
    """Smooth and textured, away from both ends of the range."""
    waves = 0.15 * np.sin(np.arange(size) / 2)[:, None, None] * np.cos(np.arange(size) / 3)[None, :, None]
    field = 0.2 + 0.4 * smooth_field(rng(7), size, size, 5) + waves
    return np.clip(field * np.linspace(1, 0.8, channels), 0.05, 0.9).astype(np.float32)


def flat(value, size=200, channels=3):
    return np.full((size, size, channels), value, np.float32)


def apply(key, image, seed=0, **fixed):
    """The degradation with every strength in the middle of its range but the given ones."""
    middle = {name: kind((low + high) / 2) for name, (low, high), kind in (
        (name, distribution, int if isinstance(distribution, Integer) else float)
        for name, distribution in d.STRENGTHS[key].items()
    )}  # fmt: skip
    if "grain_share" in middle:
        middle["grain_share"] = 1.0 if "grain_sd" in fixed else 0.0
    if "motion_share" in middle:
        middle["motion_share"] = 1.0 if "length" in fixed else 0.0
    return d.DEGRADATIONS[key](image, rng(seed), **middle | fixed)


def keys():
    return pytest.mark.parametrize("key", d.DEGRADATIONS, ids="-".join)


def test_every_condition_but_clean_has_a_degradation_strengths_and_a_test():
    wanted = {tuple(condition) for condition in CONDITIONS if condition.name != "clean"}
    assert set(d.DEGRADATIONS) == set(d.STRENGTHS) == set(STRONGER) == wanted


@keys()
def test_shape_type_and_range_are_kept_and_the_seed_decides(key):
    channels = 3 if key[0] == "visible" else 1
    for image in (picture(channels, 33)[:, :21], flat(0, 24, channels), flat(1, 24, channels)):
        for seed in range(5):
            before = image.copy()
            out = d.degrade(image, [condition_id(*key)], rng(seed))
            assert out.shape == image.shape and out.dtype == np.float32
            assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
            np.testing.assert_array_equal(image, before)
            np.testing.assert_array_equal(out, d.degrade(image, [condition_id(*key)], rng(seed)))
    one, other = (d.degrade(picture(channels), [condition_id(*key)], rng(seed)) for seed in (1, 2))
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize(
    ("key", "name"), [(k, n) for k, table in STRONGER.items() for n in table], ids=lambda part: "".join(part)
)
def test_monotone_in_strength(key, name):
    image = picture(3 if key[0] == "visible" else 1)
    changes = [
        np.mean([np.abs(apply(key, image, seed, **{name: value}) - image).mean() for seed in range(6)])
        for value in STRONGER[key][name]
    ]
    assert (np.diff(changes) > 0).all(), changes


def test_haze_is_a_mixture_with_one_transmission():
    plain = dict(airlight=0.8, tint=0.0, ground_share=0.0)
    black, white = (apply(("visible", "haze"), flat(v), beta=1.5, **plain) for v in (0, 1))
    transmission = white - black
    assert np.exp(-1.5) - 1e-6 <= transmission.min() < transmission.max() <= np.exp(-1.5 * 0.4) + 1e-6
    np.testing.assert_allclose(black, 0.8 * (1 - transmission), atol=1e-6)
    np.testing.assert_allclose(apply(("visible", "haze"), flat(0.8), **plain), 0.8, atol=1e-6)
    assert (np.diff(transmission.mean((1, 2))[::50]) > 0).sum() >= 2  # the sky, above, is farther


def test_haze_over_level_ground_begins_at_ones_feet():
    ground = dict(beta=1.5, airlight=0.8, tint=0.0, ground_share=1.0, horizon=0.4)
    depth = [-np.log(1 - apply(("visible", "haze"), flat(0), seed, **ground) / 0.8) / 1.5 for seed in range(20)]
    rows = np.mean(depth, (0, 2, 3))
    np.testing.assert_allclose(rows[-1], 0, atol=1e-6)
    assert (np.diff(rows[80:]) <= 1e-6).all()  # from the horizon down, ever nearer
    # Twice as far below the horizon is half as far away; 1.4 is the mean depth of the horizon
    below = (np.array([100, 120, 159]) / 199 - 0.4) / 0.6
    np.testing.assert_allclose(rows[[100, 120, 159]], 1.4 * (0.1 / np.maximum(below, 0.1) - 0.1) / 0.9, rtol=0.15)
    assert 0.8 - 1e-5 <= np.min([d[:80] for d in depth]) and np.max(depth) <= 2 + 1e-5


def test_things_in_a_scene_stand_nearer_than_the_ground_behind_them(monkeypatch):
    def scenes(things):
        monkeypatch.setattr(depth, "THINGS", things)
        return np.stack([depth.scene(flat(0.5), rng(seed), horizon=0.4) for seed in range(20)])[..., 0]

    empty, full = scenes((0, 0)), scenes((8, 8))
    # The horizon is 1.6 to 3.2 away, and one's feet are at 0, but for what is smoothed over up to 58 pixels
    assert 1.6 - 1e-5 <= empty[:, :20].min() and empty[:, :20].max() <= 3.2 + 1e-5
    assert empty[:, -1].max() < 0.2 and (np.diff(empty.mean((0, 2))[80:]) < 0).all()
    np.testing.assert_array_less(full, 3.2 + 1e-5)
    assert full[:, :80].mean() < 0.8 * empty[:, :80].mean()


def test_depth_follows_the_edges_of_the_image():
    edge = np.repeat(np.where(np.arange(100) < 50, 0.2, 0.8)[None], 60, 0).astype(np.float32)
    wrong = np.repeat(np.where(np.arange(100) < 45, 0.0, 1.0)[None], 60, 0).astype(np.float32)
    across = guided_filter(edge, wrong, 12, 1e-3)[30]
    assert np.argmax(np.diff(across)) == 49
    np.testing.assert_allclose(guided_filter(edge, edge, 12, 1e-9), edge, atol=1e-4)
    box = np.ones(9) / 9
    twice = np.convolve(np.convolve(wrong[30], box), box)[8:-8]
    np.testing.assert_allclose(guided_filter(0 * edge, wrong, 4, 1e-3)[30, 16:-16], twice[16:-16], atol=1e-5)


def test_haze_and_blur_in_linear_light():
    hazy = apply(("visible", "haze"), flat(0), beta=1.5, airlight=0.8, tint=0.0, gamma=2.2)
    stored = apply(("visible", "haze"), flat(0), beta=1.5, airlight=0.8, tint=0.0)
    np.testing.assert_allclose(hazy, 0.8 * (stored / 0.8) ** (1 / 2.2), atol=1e-5)
    edge = flat(0)
    edge[:, 100:] = 1
    blurred = apply(("visible", "blur"), edge, radius=3.0, gamma=2.2)
    np.testing.assert_allclose(blurred, apply(("visible", "blur"), edge, radius=3.0) ** (1 / 2.2), atol=1e-5)


def test_rain_covers_what_its_density_says():
    out = apply(("visible", "rain"), flat(0), density=0.002, length=9, opacity=0.4, light=0.9, veil=0.0)
    assert out.mean() == pytest.approx(0.9 * 0.002 * 0.75 * 9 * 0.4, rel=0.15)
    assert out.max() <= 0.9 * 0.8 + 1e-6
    clear = apply(("visible", "rain"), flat(0.2), density=0.0, veil=0.1, mist=0.7)
    np.testing.assert_allclose(clear, 0.2 * 0.9 + 0.07, atol=1e-6)
    vertical = apply(("visible", "rain"), flat(0), length=15, angle=0.0, veil=0.0)[..., 0]
    assert np.abs(np.diff(vertical, axis=0)).mean() < 0.5 * np.abs(np.diff(vertical, axis=1)).mean()


def test_snow_covers_what_its_flakes_say():
    fixed = dict(small=1.0, small_density=0.001, large=2.5, large_density=0.0004, motion=1)
    out = apply(("visible", "snow"), flat(0, 400), opacity=0.8, light=0.95, veil=0.0, **fixed)
    areas = [disc_kernel(radius).sum() / disc_kernel(radius).max() for radius in (1.0, 2.5)]
    assert out.mean() == pytest.approx(0.95 * 0.8 * (0.001 * areas[0] + 0.0004 * areas[1]), rel=0.15)
    assert areas[1] == pytest.approx(np.pi * 2.5**2, rel=0.1)


def test_blur_keeps_flat_images_and_has_the_moments_of_its_kernel():
    np.testing.assert_allclose(apply(("visible", "blur"), flat(0.3, 40), length=9), 0.3, atol=1e-6)
    y, x = np.mgrid[-20:21, -20:21]
    point = np.zeros((41, 41, 1), np.float32)
    point[20, 20] = 1
    spread = apply(("infrared", "blur"), point, radius=3.0)[..., 0]
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert (spread * x**2).sum() == pytest.approx(3.0**2 / 4, rel=0.1)  # of a disc, on either axis
    for angle in (0.0, 0.7, np.pi / 2):
        spread = apply(("infrared", "blur"), point, length=12, angle=angle)[..., 0]
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        assert (spread * along**2).sum() == pytest.approx(12**2 / 12, rel=0.1)  # of a line
        assert (spread * across**2).sum() < 0.5


def test_low_light_scales_linear_light_and_counts_photons():
    fixed = dict(gain=0.1, cast=0.0, shot=1e-5, read=2e-4)
    linear = apply(("visible", "low_light"), flat(0.8), **fixed) ** 2.2
    expected = 0.1 * 0.8**2.2
    assert linear.mean() == pytest.approx(expected, rel=1e-3)
    assert linear.var() == pytest.approx(1e-5 * expected + 2e-4**2, rel=0.05)
    cast = (apply(("visible", "low_light"), flat(0.8), **fixed | {"cast": 0.15}) ** 2.2).mean((0, 1)) / expected
    assert np.ptp(cast) > 0.01 and cast.min() > 0.85 and cast.max() < 1.15


def test_over_exposure_is_a_gain_in_linear_light():
    image = picture(3)
    out = apply(("visible", "over_exposure"), image, gain=3.0)
    np.testing.assert_allclose(out**2.2, np.minimum(1, 3.0 * image**2.2), atol=1e-5)


@pytest.mark.parametrize("key", [("visible", "noise"), ("infrared", "noise")])
@pytest.mark.parametrize("value", [0.2, 0.4, 0.6])
def test_noise_has_the_variance_of_its_formula(key, value):
    without = {"grain_share": 0.0} if key[0] == "visible" else {"dead": 0.0}
    for share in (0.0, 0.5, 1.0):
        noise = apply(key, flat(value), sd=10.0, shot_share=share, **without) - value
        assert abs(noise.mean()) < 6e-4
        assert noise.std() == pytest.approx(10 / 255 * np.sqrt(share * value / 0.4 + 1 - share), rel=0.02)


@pytest.mark.parametrize("common", [0.0, 0.5, 0.9])
def test_channels_of_noise_correlate_as_asked(common):
    fixed = dict(sd=10.0, shot_share=0.5, grain_share=0.0, common=common)
    noise = apply(("visible", "noise"), flat(0.5), **fixed).reshape(-1, 3)
    between = np.corrcoef(noise.T)[np.triu_indices(3, 1)]
    np.testing.assert_allclose(between, common, atol=0.02)


def test_grain_is_correlated_and_has_its_own_strength():
    fixed = dict(sd=10.0, shot_share=0.0, grain=1.5, grain_sd=0.7)
    noise = apply(("visible", "noise"), flat(0.5), grain_share=1.0, **fixed)[..., 0] - 0.5
    assert noise.std() == pytest.approx(0.7 * 10 / 255, rel=0.06)
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    spread = disc_kernel(1.5)
    assert neighbours == pytest.approx((spread[:, 1:] * spread[:, :-1]).sum() / (spread**2).sum(), abs=0.05)


def test_dead_pixels_are_as_many_as_said():
    out = apply(("infrared", "noise"), flat(0.5, channels=1), sd=1e-3, dead=0.01)
    assert ((out == 0) | (out == 1)).mean() == pytest.approx(0.01, abs=0.002)
    assert (out == 1).mean() == pytest.approx(0.005, abs=0.0015)


def test_low_contrast_moments():
    image = picture(1)
    out = apply(("infrared", "low_contrast"), image, contrast=0.3, offset=0.1)
    assert out.std() == pytest.approx(0.3 * image.std(), rel=1e-4)
    assert out.mean() == pytest.approx(image.mean() + 0.1, abs=1e-5)
    for offset, mean in ((-0.9, 0.15), (0.9, 0.85)):
        assert apply(("infrared", "low_contrast"), image, offset=offset).mean() == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize(("share", "axis"), [(0.0, 0), (1.0, 1)])
def test_stripes_are_one_value_a_column_or_a_row(share, axis):
    pattern = apply(("infrared", "stripe"), flat(0.5, 400, 1), sd=6.0, row_share=share)[..., 0] - 0.5
    assert np.ptp(pattern, axis=axis).max() < 1e-6
    assert pattern.std() == pytest.approx(6 / 255, rel=0.15)


def test_conditions_are_applied_in_physical_order():
    image = picture(3)
    ids = [condition_id("visible", name) for name in ("noise", "haze")]
    hazy = d.degrade(image, ids[1:], generator := rng(3))
    expected = d.degrade(hazy, ids[:1], generator)
    np.testing.assert_array_equal(d.degrade(image, ids, rng(3)), expected)
    np.testing.assert_array_equal(d.degrade(image, ids[::-1], rng(3)), expected)
    order = [name for modality, name in d.DEGRADATIONS if modality == "visible"]
    assert order.index("rain") < order.index("blur") < order.index("low_light") < order.index("noise")


def test_clean_is_the_image_itself():
    image = picture(3)
    assert d.degrade(image, [condition_id("visible", "clean")], rng()) is image
    assert d.degrade(image, [], rng()) is image


def test_compatible_is_symmetric_and_refuses_contradictions():
    ids = range(len(CONDITIONS))
    assert all(d.compatible(a, b) == d.compatible(b, a) for a in ids for b in ids)
    assert not any(d.compatible(a, a) for a in ids)
    visible = {name: condition_id("visible", name) for name in ("low_light", "over_exposure", "noise")}
    assert not d.compatible(visible["low_light"], visible["over_exposure"])
    assert d.compatible(visible["low_light"], visible["noise"])


@pytest.mark.parametrize(
    ("distribution", "mean"), [(Uniform(2, 6), 4), (LogUniform(1, 100), 99 / np.log(100)), (Integer(1, 3), 2)]
)
def test_distributions(distribution, mean):
    generator = rng()
    drawn = np.array([distribution.draw(generator) for _ in range(4000)])
    assert drawn.min() >= distribution.low and drawn.max() <= distribution.high
    assert drawn.mean() == pytest.approx(mean, rel=0.06)
    if isinstance(distribution, Integer):
        assert set(drawn) == {1, 2, 3}


def test_strengths_of_the_config():
    table = changed(d.STRENGTHS, {"visible": {"noise": {"sd": (20, 20), "shot_share": (0, 0), "grain_share": (0, 0)}}})
    noise = d.degrade(flat(0.5), [condition_id("visible", "noise")], rng(), table) - 0.5
    assert noise.std() == pytest.approx(20 / 255, rel=0.02)
    assert d.STRENGTHS["visible", "noise"]["sd"] == LogUniform(2, 55)
    assert table["infrared", "noise"] == d.STRENGTHS["infrared", "noise"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visible": {"fog": {}}}, "config.data.strengths.visible.fog is no degradation; known are visible.haze"),
        ({"visible": {"noise": {"x": (1, 2)}}}, "noise has no parameter 'x'; it has sd, shot_share"),
        ({"visible": {"noise": {"sd": (0, 2)}}}, r"sd=\(0, 2\) is not \(low, high\), two numbers above 0 in order"),
        ({"visible": {"haze": {"beta": (2, 1)}}}, "two numbers in order"),
        ({"visible": {"rain": {"length": (2, 3.5)}}}, "two whole numbers in order"),
    ],
)
def test_wrong_strengths(changes, message):
    with pytest.raises(ValueError, match=message):
        changed(d.STRENGTHS, changes)


def test_shift_sum_is_a_correlation():
    image, taps = rng().random((9, 11, 2)), rng(1).random((3, 3))
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    expected = [[(padded[i : i + 3, j : j + 3] * taps[..., None]).sum((0, 1)) for j in range(11)] for i in range(9)]
    np.testing.assert_allclose(shift_sum(image, taps), expected)
    assert line_kernel(1, 0.3).sum() == pytest.approx(1)
