"""The clip source from recipe to image: trained, stopped, resumed, released and used; and every wrong text refused."""

import json
import shutil

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp
from tiny_clip import write_clip

import train
from configs import common, lure_base_clip, quickstart
from lure_jax.errors import UserError
from lure_jax.inference import weights
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.prompt import SLOTS, Prompt
from lure_jax.models import registry as models
from lure_jax.objectives import registry as objectives
from lure_jax.text.asked import PARTS, asks_for
from lure_jax.text.prompts import PROMPTS, prompt_ids
from lure_jax.training import checkpoints
from lure_jax.training.step import check_lr_factors

SENTENCES = {"visible": "noise and rain", "infrared": "dark rain"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a CLIP narrower than the model's text, another one, and the cache."""
    folder = tmp_path_factory.mktemp("clip_run")
    write_clip(folder / "clip")
    write_clip(folder / "other", seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(train, "build_evaluator", lambda config, model, heads: None)
        yield folder


def recipe(place, **model):
    """Two steps of the first stage of the tiny model on embedded scenes."""
    config = quickstart.get_config()
    config.model.update(dict(text="clip", clip=str(place / "clip")) | model)
    config.data.data_dir = str(place / "data")
    config.data.restoration = (common.clean("synthetic_scenes/debug", "visible", "visible", ("noise",)),)
    config.recipe = ("space",)
    config.stages.space.update(dict(steps=2, batch=2, crop=32, warmup=0, optimizer="adamw"))
    return config


@pytest.fixture(scope="module")
def workdir(place):
    """A run stopped after its first step and taken up again."""
    config = recipe(place)
    config.max_seconds = 1e-3
    train.run(config, str(place / "run"))
    assert checkpoints.latest_step(place / "run") == 1 and not (place / "run" / "model").exists()
    train.run(recipe(place), str(place / "run"))
    return place / "run"


@pytest.fixture(scope="module")
def fuser(workdir):
    return Fuser.load(workdir)


def images():
    rng = np.random.default_rng(0)
    return rng.random((32, 32, 3)).astype(np.float32), rng.random((32, 32)).astype(np.float32)


@pytest.mark.slow
def test_only_the_linear_map_is_trained_and_saved(workdir):
    assert checkpoints.latest_step(workdir) == 2
    for item in ("params", "ema", "optimizer"):
        shapes = ocp.metadata(workdir / "checkpoints" / "2", checkpointable_name=item).metadata
        text = [leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(shapes) if "'text'" in str(path)]
        assert text and set(text) == {(24, 64)}, item
    first, second = (
        ocp.load_checkpointables(workdir / "checkpoints" / step, {"params": None})["params"]["text"]["projection"]
        for step in ("1", "2")
    )
    assert np.abs(np.asarray(first["kernel"]) - np.asarray(second["kernel"])).max() > 0


@pytest.mark.slow
def test_the_released_model_holds_its_prompts(workdir, place):
    released = weights.load(workdir)
    assert released.config["text"] == "clip" and released.config["clip"] == str(place / "clip")
    assert released.model.text_identity == f"clip {released.model.prompts.tower[:12]}"
    assert released.model == models.build(recipe(place).model)
    assert sorted(path.name for path in (workdir / "model").iterdir()) == ["config.json", "params", "prompts.npz"]
    np.testing.assert_array_equal(released.model.prompts.tokens, models.build(recipe(place).model).prompts.tokens)


@pytest.mark.slow
def test_sentences_are_encoded_and_auto_is_not(fuser, workdir, place):
    pair = images()
    rain, clean = prompt_ids([4], SLOTS), prompt_ids([8], SLOTS)
    known = fuser.fuse(*pair, prompt=Prompt(rain, clean, ()))
    told = fuser.fuse(*pair, prompt={"visible": PROMPTS[rain[0]], "infrared": PROMPTS[clean[0]]})
    np.testing.assert_allclose(told, known, atol=2e-5)
    assert np.abs(fuser.fuse(*pair, prompt=SENTENCES) - told).max() > 1e-6
    read = fuser.read_prompt("frobnicated dark")
    assert not read.warnings
    np.testing.assert_array_equal(read.visible.tokens, read.infrared.tokens)
    for text, expected in ((read.visible, ["toning"]), (read.infrared, [])):
        assert [part for part in PARTS if asks_for(text.asked[None], part)[0]] == expected

    (place / "clip").rename(place / "away")
    try:
        elsewhere = Fuser.load(workdir)
        assert elsewhere.fuse(*pair).shape == (32, 32, 3)
        with pytest.raises(weights.WeightsError, match="A sentence needs CLIP's files, which the prompt auto does not"):
            elsewhere.fuse(*pair, prompt="dark")
    finally:
        (place / "away").rename(place / "clip")


@pytest.mark.slow
def test_another_text_is_refused(workdir, place):
    with pytest.raises(UserError, match=r"text source 'clip \w{12}', and this run has 'clip \w{12}': set config.model"):
        train.run(recipe(place, clip=str(place / "other")), str(workdir))
    with pytest.raises(UserError, match=r"text source 'clip \w{12}', and this run has 'table': set config.model"):
        checkpoints.check_text(workdir, 2, "table")
    for source in (workdir, workdir / "model"):
        with pytest.raises(UserError, match=r"text source 'clip \w{12}', and this \w+ has 'table'"):
            train.load_params(str(source), {}, "table")


@pytest.mark.slow
def test_a_released_model_with_another_clip_or_without_prompts(workdir, place, tmp_path):
    shutil.copytree(workdir / "model", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["model"]["clip"] = str(place / "other")
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(weights.WeightsError, match="is another CLIP .* model.clip in the model's config.json"):
        Fuser.load(tmp_path / "model").read_prompt("dark")
    (tmp_path / "model" / "prompts.npz").write_bytes(b"x")
    with pytest.raises(weights.WeightsError, match="prompts.npz does not fit: the encoded prompts are unreadable"):
        weights.load(tmp_path / "model")
    (tmp_path / "model" / "prompts.npz").unlink()
    with pytest.raises(weights.WeightsError, match="has the text source clip, but not prompts.npz"):
        weights.load(tmp_path / "model")


def test_at_clips_width_no_stage_mentions_the_text(place):
    write_clip(place / "wide", hidden_size=64)
    config = recipe(place, clip=str(place / "wide"))
    model = models.build(config.model)
    params = jax.eval_shape(lambda key: models.initialise(model, key), jax.random.key(0))
    assert "text" not in params
    for name in ("space", "rule", "joint"):
        check_lr_factors(params, objectives.build(config.stages[name], model).lr_factors)


def test_the_recipe_needs_clips_files(place, monkeypatch):
    config = lure_base_clip.get_config()
    assert (config.model.text, config.model.clip) == ("clip", "openai/clip-vit-base-patch32")
    assert models.PRESETS["lure"][config.model.preset].text == 512
    with pytest.raises(UserError, match="config.model.clip='' is no folder, no .safetensors file and no name"):
        models.build(recipe(place, clip="").model)
