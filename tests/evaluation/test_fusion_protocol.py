"""Ranks, medians and vetoes against scipy, closed forms and the tables recorded beside the data."""

import numpy as np
import pytest
from scipy import ndimage, stats

from lure_jax.evaluation import fusion as protocol
from lure_jax.evaluation import peers
from lure_jax.metrics.fusion import FUSION_METRICS


def test_ranks_share_ties():
    values = [3.0, 5.0, 3.0, 1.0, 5.0, 5.0]
    np.testing.assert_allclose(protocol.ranks(values), stats.rankdata(-np.array(values)))


def test_at_median_counts_equality():
    others = {name: {"EN": value, "SD": value} for name, value in zip("abc", (1.0, 2.0, 3.0), strict=True)}
    assert protocol.at_median({"EN": 2.0, "SD": 1.9}, others, ("EN", "SD")) == {"EN": True, "SD": False}


def test_overall_is_the_mean_over_sets_of_methods_everywhere():
    a, b = (dict.fromkeys(protocol.RANKED, value) for value in (1.0, 2.0))
    sets = {"one": {"x": a, "y": b}, "two": {"x": b, "y": a, "z": a}}
    assert protocol.overall_ranks(sets) == {"x": 1.5, "y": (1 + 2.5) / 2}


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.uniform(0, 255, (4, 180, 200)), (0, 3, 3))
    smooth = np.clip(128 + 6 * (smooth - smooth.mean()), 20, 230).astype(np.uint8)
    return np.moveaxis(smooth[:3], 0, -1).copy(), smooth[3]


def test_the_visible_image_itself_has_no_colour_shift_and_no_overshoot(pair):
    visible, infrared = pair
    visible = visible.copy()
    visible[:18] = 0
    scores = protocol.fusion_scores(visible, visible, infrared)
    assert set(FUSION_METRICS) <= set(scores)
    assert scores["CIEDE2000"] == pytest.approx(0, abs=1e-4)
    assert scores["overshoot"] == pytest.approx(0, abs=1e-4)
    assert scores["clipped %"] == pytest.approx(10) and scores["sources clipped %"] == pytest.approx(10)


def test_a_stretched_image_is_vetoed(pair):
    visible, infrared = pair
    plain = protocol.fusion_scores(visible, visible, infrared)
    stretched = np.clip(3.0 * (visible.astype(float) - 128) + 128, 0, 255).astype(np.uint8)
    scores = protocol.fusion_scores(stretched, visible, infrared)
    broken = {veto.what for veto in protocol.vetoes(scores, plain) if not veto.met}
    assert {"clipped %", "CIEDE2000", "overshoot"} <= broken
    assert not {"clipped %", "CIEDE2000", "overshoot"} & {v.what for v in protocol.vetoes(plain, plain) if not v.met}


def recorded_tables(path):
    """Title -> method -> mean rank, from the Markdown tables beside the recorded scores."""
    tables, title = {}, ""
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            title = line[3:]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 11 and cells[0] not in ("method", "---"):
            tables.setdefault(title, {})[cells[0]] = float(cells[1])
    return tables


def test_recorded_scores_give_the_recorded_ranks(shared_data):
    folder = shared_data.parent / "peers"
    recorded = peers.read_recorded(folder)
    sets = {
        name: {method: protocol.mean_scores(images.values()) for method, images in methods.items()}
        for name, methods in recorded.items()
    }
    tables = recorded_tables(folder / "README.md")
    for name, methods in sets.items():
        assert protocol.mean_ranks(methods) == pytest.approx(tables[name], abs=0.006)
        assert len(peers.image_names(recorded[name])) == {"msrs": 25, "roadscene": 30, "tno": 8, "llvip": 3}[name]
    (overall,) = [ranks for title, ranks in tables.items() if title.startswith("All four sets")]
    assert protocol.overall_ranks(sets) == pytest.approx(overall, abs=0.006)
