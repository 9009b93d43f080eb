"""Released models: what is written is what is read, and every way it cannot be is said in one sentence."""

import json

import jax
import numpy as np
import pytest
from random_model import MODEL, random_params, save_random_model

from lure_jax.inference import weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_random_model(tmp_path_factory.mktemp("weights") / "mine", thresholds={"infrared/stripe": 0.8})


def _copy(folder, target, **changes):
    config = json.loads((folder / "config.json").read_text())
    config.update(changes)
    target.mkdir(parents=True)
    (target / "params").symlink_to(folder / "params")
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_round_trip_is_exact_float32_and_leaves_no_draft(folder):
    released = weights.load(folder)
    jax.tree.map(np.testing.assert_array_equal, released.params, random_params())
    assert {leaf.dtype for leaf in jax.tree.leaves(released.params)} == {np.dtype(np.float32)}
    assert released.config == MODEL
    assert released.thresholds[11] == np.float32(0.8) and released.thresholds[1] == 0.5
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_half_precision_and_device_arrays_are_stored_as_float32(tmp_path):
    params = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, jax.numpy.bfloat16), random_params())
    weights.save(tmp_path / "m", params, MODEL)
    loaded = weights.load(tmp_path / "m").params
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.asarray(b, np.float32)), loaded, params)


def test_saving_again_replaces(tmp_path):
    save_random_model(tmp_path / "m")
    weights.save(tmp_path / "m", jax.tree.map(np.zeros_like, random_params()), MODEL)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(weights.load(tmp_path / "m").params))
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["config.json", "params"]


def test_a_training_workdir_holds_its_model(folder, tmp_path):
    _copy(folder, tmp_path / "run" / "model")
    assert weights.load(tmp_path / "run").config == MODEL


def test_shipped_models_are_found_by_name(folder, tmp_path, monkeypatch):
    _copy(folder, tmp_path / "lure_mini")
    monkeypatch.setattr(weights, "SHIPPED", tmp_path)
    assert weights.shipped() == ["lure_mini"]
    assert weights.load("lure_mini").config == MODEL
    with pytest.raises(weights.WeightsError, match="no model 'lure_huge'.*the package has lure_mini"):
        weights.load("lure_huge")


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(weights.WeightsError, match="is not a model: neither config.json"):
        weights.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has format 2, and this version of lure-jax reads format 1"),
        ({"model": {**MODEL, "text": "clap"}}, "text source 'clap'.*known: .*table"),
        ({"model": {"name": "lure"}}, r"lacks model\.preset"),
        ({"model": {**MODEL, "preset": "giant"}}, "preset='giant' is not known"),
        ({"model": {**MODEL, "preset": "small"}}, "does not fit the model: parameter .* there and .* in the model"),
        ({"thresholds": {"visible/fog": 0.5}}, "condition 'visible/fog'; known are visible/clean"),
        ({"thresholds": {"visible/haze": 1.5}}, "threshold 1.5 for visible/haze"),
    ],
)
def test_misfits_are_named(folder, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        weights.load(_copy(folder, tmp_path / "other", **changes))


def test_a_broken_description_and_missing_parameters(folder, tmp_path):
    broken = _copy(folder, tmp_path / "broken")
    (broken / "params").unlink()
    with pytest.raises(weights.WeightsError, match="params is not a readable checkpoint"):
        weights.load(broken)
    (broken / "config.json").write_text("{")
    with pytest.raises(weights.WeightsError, match="is not the description of a model"):
        weights.load(broken)


def test_parameters_alone_are_checked_against_the_caller(folder):
    params = random_params()
    jax.tree.map(np.testing.assert_array_equal, weights.load_params(folder, params), params)
    params["text"]["table"] = np.zeros((14, 8, 64), np.float32)
    with pytest.raises(weights.WeightsError, match=r"text/table is \(13, 8, 64\) there and \(14, 8, 64\)"):
        weights.load_params(folder, params)


def test_what_a_run_may_add_is_left_out_where_it_is_not_there(folder):
    params = random_params()
    more = params | {"denoising": {"share": np.zeros(1, np.float32)}}
    found = weights.load_params(folder, more, optional=("denoising", "heads"))
    jax.tree.map(np.testing.assert_array_equal, found, params)
    with pytest.raises(weights.WeightsError, match="denoising/share is absent there"):
        weights.load_params(folder, more)
