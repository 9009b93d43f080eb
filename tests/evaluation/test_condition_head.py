"""The condition head's scores in closed form, and thresholds against an exhaustive search."""

import json

import numpy as np
import pytest

from lure_jax.evaluation import condition_head as protocol
from lure_jax.evaluation.condition_head import NAMES, Judged
from lure_jax.text.conditions import CONDITIONS
from lure_jax.text.prompts import PROMPT_CONDITIONS

NOISE, DARK, HAZE = (NAMES.index(f"visible/{name}") for name in ("noise", "low_light", "haze"))


def group(kind, present, **probabilities):
    """Images of the columns and probabilities given, all with the conditions `present`."""
    count = len(next(iter(probabilities.values())))
    p, truth = np.zeros((count, 13), np.float32), np.zeros((count, 13), bool)
    for name, values in probabilities.items():
        p[:, NAMES.index(f"visible/{name}")] = values
    truth[:, present] = True
    return Judged(kind, p, truth)


def test_judge_puts_answers_into_columns():
    def detect(image, modality):
        assert modality == "visible"
        return {"noise": float(image), "low_light": 0.25}

    judged = protocol.judge(detect, [0.5, 0.75], "visible", "visible/noise", [[NOISE], [0]])
    np.testing.assert_allclose(judged.probability[:, [NOISE, DARK]], [[0.5, 0.25], [0.75, 0.25]])
    assert judged.truth.sum() == 1 and judged.truth[0, NOISE]


def test_exact_found_and_f1():
    thresholds = np.full(13, 0.5)
    judged = group("visible/noise", [NOISE], noise=[0.9, 0.9, 0.1, 0.9], low_light=[0.1, 0.8, 0.1, 0.2])
    assert protocol.exact(judged, thresholds) == 0.5
    assert protocol.found(judged, thresholds, "visible/noise").tolist() == [True, True, False, True]
    assert protocol.micro_f1(judged, thresholds) == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))


def test_summary_reports_what_each_kind_is_for():
    thresholds = np.full(13, 0.5)
    rows = protocol.summary([
        group("visible/clean", [], low_light=[0.9, 0.1]),
        group("visible/real noise", [NOISE], noise=[0.9, 0.1, 0.1, 0.1]),
        group("visible/compound", [NOISE, DARK], noise=[0.9], low_light=[0.9]),
    ], thresholds)  # fmt: skip
    assert rows[0]["called low_light"] == 1 and rows[0]["exact"] == 0.5
    assert rows[1]["found"] == 0.25
    assert rows[2]["F1"] == 1


def test_fewest_errors_is_the_best_of_all_thresholds():
    rng = np.random.default_rng(0)
    for _ in range(20):
        odds, truth = rng.normal(size=40).round(1), rng.random(40) < 0.4
        weight = rng.uniform(0.1, 1, 40)

        def errors(threshold, odds=odds, truth=truth, weight=weight):
            return weight[(odds > threshold) != truth].sum()

        best = min(errors(t) for t in np.linspace(-4, 4, 1601))
        assert errors(protocol._fewest_errors(odds, truth, weight)) == pytest.approx(best)


def test_calibrate_separates_and_never_ruins_clean_images():
    groups = [
        group("visible/noise", [NOISE], noise=[0.8, 0.85, 0.9]),
        group("visible/low_light", [DARK], noise=[0.01] * 4, low_light=[0.6, 0.7, 0.8, 0.99]),
        group("visible/clean", [], noise=[0.05, 0.6], low_light=[0.01, 0.9]),
    ]
    thresholds = protocol.calibrate(groups, {})
    assert set(thresholds) == {"visible/noise", "visible/low_light"}
    assert 0.6 < thresholds["visible/noise"] < 0.8
    assert 0.9 < thresholds["visible/low_light"] < 0.99


def test_calibrate_acts_only_on_what_is_more_likely_than_not():
    groups = [
        group("visible/haze", [HAZE], haze=[0.2] * 4),
        group("visible/noise", [NOISE], noise=[0.2] * 4),
        group("visible/clean", [], haze=[0.01] * 4, noise=[0.01] * 4),
    ]
    assert protocol.calibrate(groups, {}) == {"visible/haze": 0.5, "visible/noise": 0.5}


def test_calibrate_spares_photographs_with_other_trouble():
    groups = [
        group("visible/low_light", [DARK], low_light=[0.6, 0.7, 0.8, 0.99]),
        group("visible/real noise", [NOISE], low_light=[0.01, 0.01, 0.75], noise=[0.9] * 3),
        group("visible/haze", [HAZE], low_light=[0.01, 0.65]),
    ]
    assert 0.75 < protocol.calibrate(groups, {})["visible/low_light"] < 0.8  # the hazy one, synthesised, may be missed


def test_calibrate_acts_only_where_it_pays():
    groups = [
        group("visible/noise", [NOISE], noise=[0.6, 0.7, 0.8]),
        group("visible/clean", [], noise=[0.1, 0.2]),
    ]
    assert protocol.calibrate(groups, {"visible/noise": 0.75, "visible/haze": 0.9}) == {"visible/noise": 0.75}
    assert protocol.calibrate(groups, {"visible/noise": 1.0}) == {"visible/noise": protocol.HIGHEST}


def test_stakes_are_what_a_wrong_repair_costs_beside_what_a_right_one_gains(monkeypatch):
    """A restorer that leaves errors of 16 in degraded images, 1 in intact ones; repaired, 2 and 4, 8 or 0."""
    images = {"any": {str(i): np.full((8, 8, 3), 100 + i, np.uint8) for i in range(3)}}
    monkeypatch.setattr(protocol, "CROP", 8)
    monkeypatch.setattr(protocol, "clean_images", lambda data, split, m, limit: images if m == "visible" else {})
    monkeypatch.setattr(protocol, "synthetic_pairs", lambda images, ids, seed: [
        protocol.Pair(np.uint8(image + 16), image) for image in images])  # fmt: skip

    def restore(batch, modality, prompt):
        asked = CONDITIONS[PROMPT_CONDITIONS[prompt.visible[0]]].name
        intact = batch.max() < 110
        if asked == "clean":
            return batch + np.uint8(1 if intact else 0)
        if intact:
            return batch + np.uint8({"noise": 8, "snow": 0}.get(asked, 4))
        return batch - np.uint8(0 if asked == "rain" else 14)

    found = protocol.stakes(restore, None, "val", 3, 0)
    gain = 20 * np.log10(16 / 2)
    assert found["visible/noise"] == pytest.approx(20 * np.log10(8) / (20 * np.log10(8) + gain), rel=1e-5)
    assert found["visible/haze"] == pytest.approx(20 * np.log10(4) / (20 * np.log10(4) + gain), rel=1e-5)
    assert found["visible/snow"] == 0 and found["visible/rain"] == protocol.HIGHEST
    assert "visible/blur" not in found and len(found) == 6


def test_write_thresholds_keeps_the_rest(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"format": 1, "thresholds": {"visible/noise": 0.5, "visible/rain": 0.4}}))
    protocol.write_thresholds(tmp_path, {"visible/noise": 0.2})
    assert json.loads(path.read_text()) == {"format": 1, "thresholds": {"visible/noise": 0.2, "visible/rain": 0.4}}
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_label_accuracy_counts_the_conditions_of_the_own_modality():
    probability, truth = np.zeros((2, 13), np.float32), np.zeros((2, 13), bool)
    probability[0, NAMES.index("infrared/noise")] = 0.9  # right
    truth[0, NAMES.index("infrared/noise")] = True
    probability[1, NAMES.index("infrared/stripe")] = 0.9  # one of eight answers is wrong
    judged = Judged("infrared/noise", probability, truth)
    assert protocol.label_accuracy(judged, np.full(13, 0.5)) == 7 / 8
