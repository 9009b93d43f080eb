"""What a recipe draws, and its packed training images read by the same recipe."""

import ml_collections
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lure_jax.cli_data import data as command
from lure_jax.data import catalog, mixture, pipeline
from lure_jax.data.catalog import DataError

RECIPE = """
import ml_collections
def get_config():
    row = dict(weight=1.0, real=False)
    visible = dict(row, dataset="rig", modality="visible", image="visible", conditions=("noise", "haze"))
    infrared = dict(row, dataset="rig", modality="infrared", image="infrared", conditions=("stripe",))
    real = dict(row, dataset="real", modality="visible", image="reference", conditions=("noise",), real=True)
    real["weight"] = 3.0
    rows = tuple(map(ml_collections.ConfigDict, (visible, infrared, real)))
    stage = dict(pool="restoration", batch=4, crop=16)
    return ml_collections.ConfigDict(dict(
        recipe=("space", "rule"), stages=dict(space=stage, rule=dict(stage, pool="fusion")),
        data=dict(data_dir="DIR", source="", workers=0, cache_mb=1.0, infrared_share=0.25, two_conditions=0.0,
                  wrong_prompt=0.0, grey_share=0.0, tone_share=0.0, degraded_share=0.0, restoration=rows,
                  fusion=(ml_collections.ConfigDict(dict(dataset="rig", visible_conditions=("haze",), weight=1.0)),))))
"""


@pytest.fixture
def recipe(tmp_path):
    """A config file over eight own pairs and restoration pairs; smooth, so that they pack well."""
    rng = np.random.default_rng(0)
    for stem in ("2", "3", "4", "5", "6", "7", "1", "0"):
        for role, bands in (("visible", 3), ("infrared", 1), ("degraded", 3), ("reference", 3)):
            folder = tmp_path / ("real" if role in ("degraded", "reference") else "rig") / role
            folder.mkdir(parents=True, exist_ok=True)
            small = Image.fromarray(rng.integers(0, 256, (6, 8, bands), dtype=np.uint8).squeeze())
            small.resize((64, 48), Image.BICUBIC).save(folder / f"{stem}.png")
    catalog.build("pairs/folders", tmp_path / "rig", tmp_path / "data", save_as="rig")
    catalog.build("restoration/folders", tmp_path / "real", tmp_path / "data", save_as="real", condition="noise")
    file = tmp_path / "recipes/own.py"
    file.parent.mkdir()
    file.write_text(RECIPE.replace("DIR", str(tmp_path / "data")))
    return file


def config_of(file):
    scope = {}
    exec(file.read_text(), scope)
    return scope["get_config"]()


def test_stats(recipe):
    lines = mixture.stats(config_of(recipe))
    shares = {(line.pool, line.condition, line.dataset): line.share for line in lines}
    assert shares == pytest.approx({
        ("restoration", "haze", "rig"): 0.375, ("restoration", "noise", "rig"): 0.375 / 4,
        ("restoration", "noise", "real"): 0.375 * 3 / 4, ("restoration", "stripe", "rig"): 0.25,
        ("fusion", "haze", "rig"): 1.0,
    })  # fmt: skip
    assert {line.images for line in lines} == {len(catalog.open_split("rig", recipe.parents[1] / "data", "train"))}


def test_packed_images_are_crops_that_the_recipe_reads(recipe, tmp_path):
    config = config_of(recipe)
    packed = mixture.pack(config, tmp_path / "small", 0.02)
    assert sum(part.megabytes for part in packed) <= 0.02 and {part.dataset for part in packed} == {"rig", "real"}
    original = {e["id"]: e for e in catalog.open_split("rig", tmp_path / "data", "train")}
    for crop in catalog.open_split("rig", tmp_path / "small", "train"):
        whole = original[crop["id"].rsplit(b"_", 1)[0]]
        assert crop["visible"].shape == (16, 16, 3) and crop["infrared"].shape == (16, 16, 1)
        windows = np.lib.stride_tricks.sliding_window_view(whole["infrared"][..., 0], (16, 16))
        ((top, left),) = np.argwhere((windows == crop["infrared"][..., 0]).all((2, 3)))
        np.testing.assert_array_equal(whole["visible"][top : top + 16, left : left + 16], crop["visible"])
    config.data.data_dir = str(tmp_path / "small")
    for stage in ("space", "rule"):
        batch = next(pipeline.make_iterator(config, config.stages[stage], seed=0))
        assert all(np.isfinite(value).all() for value in batch.values())
    assert sorted(p.name for p in (tmp_path / "small").iterdir()) == ["pairs", "restoration"]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_packing_needs_room(recipe, tmp_path):
    with pytest.raises(DataError, match="MB are too few: nothing of r"):
        mixture.pack(config_of(recipe), tmp_path / "small", 0.0005)
    with pytest.raises(DataError, match="already exists"):
        mixture.pack(config_of(recipe), tmp_path / "data", 1)
    config = config_of(recipe)
    config.data.restoration = (
        ml_collections.ConfigDict(dict(dataset="synthetic_scenes/debug", real=False, image="visible")),
    )
    config.recipe = ("space",)
    with pytest.raises(DataError, match="rendered data sets alone"):
        mixture.pack(config, tmp_path / "small", 1)


def test_commands(recipe, tmp_path):
    result = CliRunner().invoke(command, ["stats", "--config", str(recipe)])
    assert result.exit_code == 0, result.output
    assert " 28.1%  visible  noise          real (real pairs), " in result.output
    result = CliRunner().invoke(command, ["pack", "--config", str(recipe), "--max-mb", "0.02", str(tmp_path / "small")])
    assert result.exit_code == 0 and "rig: " in result.output, result.output
    result = CliRunner().invoke(command, ["stats", "--config", "nowhere.py"])
    assert result.exit_code == 2 and "Config nowhere.py does not exist." in result.output
