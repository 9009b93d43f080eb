"""Exports give back the very weights, and programs that fuse as the Fuser does."""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest
from click.testing import CliRunner
from ml_collections import ConfigDict
from random_model import random_params, save_random_model
from safetensors.numpy import save_file
from tiny_clip import write_clip

from lure_jax.cli import main
from lure_jax.inference import export, portable, weights
from lure_jax.inference.fuser import Fuser
from lure_jax.models import registry
from lure_jax.text.clip_prompts import encode_prompts

ROOT = pathlib.Path(__file__).resolve().parents[2]
SENTENCE = "dark and noisy, the thermal has stripes"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of random weights whose condition head finds something in every image."""
    folder = save_random_model(tmp_path_factory.mktemp("export") / "model", thresholds={"infrared/stripe": 0.8})
    (folder / "LICENSE.md").write_text("For friends.\n")
    return folder


@pytest.fixture(scope="module")
def file(folder):
    export.export(str(folder), "safetensors", folder.parent / "model.safetensors")
    return folder.parent / "model.safetensors"


@pytest.fixture(scope="module")
def program(folder):
    """The StableHLO program as bytes, and its description."""
    export.export(str(folder), "stablehlo", folder.parent / "fuse.stablehlo")
    description = json.loads((folder.parent / "fuse.stablehlo.json").read_text())
    return (folder.parent / "fuse.stablehlo").read_bytes(), description


@pytest.fixture(scope="module")
def pair():
    """Two pairs, neither side a multiple of what the network needs."""
    rng = np.random.default_rng(0)
    return rng.random((2, 45, 61, 3), np.float32), rng.random((2, 45, 61, 1), np.float32)


@pytest.fixture(scope="module")
def fuser(file):
    return Fuser.load(file)


@pytest.fixture(scope="module")
def fused(fuser, pair):
    """What the Fuser makes of the pairs, one by one: tests/test_docs.py compiles that shape too."""
    return lambda prompt: np.stack([fuser.fuse(*one, prompt) for one in zip(*pair, strict=True)])


def _called(exported):
    """The program, compiled fast rather than to be fast."""
    return jax.jit(exported.call, compiler_options={"xla_backend_optimization_level": "0"})


def _lure(*arguments):
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def _says(result, *words):
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    for word in words:
        assert str(word) in result.output


def test_safetensors_are_bit_for_bit_the_model(folder, file, tmp_path):
    original, back = weights.load(folder), weights.load(file)
    jax.tree.map(np.testing.assert_array_equal, back.params, original.params)
    assert jax.tree.structure(back.params) == jax.tree.structure(random_params())
    assert {leaf.dtype for leaf in jax.tree.leaves(back.params)} == {np.dtype(np.float32)}
    assert back.config == original.config and back.licence == "For friends.\n"
    np.testing.assert_array_equal(back.thresholds, original.thresholds)
    assert _lure("--model", file, "--format", "orbax", "--output", tmp_path / "again").exit_code == 0
    for name in ("config.json", "LICENSE.md"):
        assert (tmp_path / "again" / name).read_text() == (folder / name).read_text()
    export.export(str(tmp_path / "again"), "safetensors", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


def test_safetensors_load_without_torch_and_orbax(file):
    code = "import sys; from lure_jax.inference.fuser import Fuser; Fuser.load(sys.argv[1]); "
    code += "print([name for name in ('torch', 'orbax.checkpoint', 'tensorflow') if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout == "[]\n"


def test_finetuning_may_start_from_safetensors(file):
    params = random_params()
    jax.tree.map(np.testing.assert_array_equal, weights.load_params(file, params), params)
    params["text"]["table"] = np.zeros((14, 8, 64), np.float32)
    with pytest.raises(weights.WeightsError, match=r"text/table is \(13, 8, 64\) there and \(14, 8, 64\)"):
        weights.load_params(file, params)


def test_stablehlo_fuses_any_size_as_the_fuser_does(program, fused, pair):
    data, description = program
    exported = jax.export.deserialize(bytearray(data))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert [str(aval.shape) for aval in exported.in_avals] == ["(b, h, w, 3)", "(b, h, w, 1)", "(b, 7)", "(b, 7)"]
    call = _called(exported)
    auto = np.full((2, 7), -2, np.int32)
    found = np.asarray(call(*pair, auto, auto))
    np.testing.assert_allclose(found, fused("auto"), atol=2e-6)
    ids = description["prompt_ids"]
    visible, infrared = np.full((2, 2, 7), -1, np.int32)
    visible[:, :2] = ids["visible"]["low_light"], ids["visible"]["noise"]
    infrared[:, 0] = ids["infrared"]["stripe"]
    asked = np.asarray(call(*pair, visible, infrared))
    np.testing.assert_allclose(asked, fused(SENTENCE), atol=2e-6)
    assert np.abs(asked - found).max() > 0.01
    visible[:], infrared[:, 0] = -1, ids["infrared"]["stripe"]
    visible[:, 0] = ids["visible"]["clean"]
    own_colours = np.asarray(call(*pair, visible, infrared))
    np.testing.assert_allclose(own_colours, fused("the thermal has stripes"), atol=2e-6)
    visible[:, 0], infrared[:, 0] = ids["visible"]["noise"], ids["infrared"]["clean"]
    np.testing.assert_allclose(np.asarray(call(*pair, visible, infrared)), fused("noisy"), atol=2e-6)
    assert description["licence"] == "For friends.\n"


def test_nothing_in_a_program_is_empty(program):
    """What has no elements, such as a border repeated no times, becomes an ONNX program that fails when it is run."""
    text = jax.export.deserialize(program[0]).mlir_module()
    assert "tensor<?x" in text and not re.search(r"tensor<(\?x|\d+x)*0x", text)


def test_a_baked_prompt_needs_no_ids(folder, tmp_path, fused, pair):
    result = _lure(
        *("--model", folder, "--format", "stablehlo", "--output", tmp_path / "p.stablehlo"),
        *("--prompt", f"flimsy, {SENTENCE}"),
    )
    assert result.exit_code == 0 and "Warning: " in result.output and "flimsy" in result.output
    call = _called(jax.export.deserialize(bytearray((tmp_path / "p.stablehlo").read_bytes())))
    np.testing.assert_allclose(call(*pair), fused(SENTENCE), atol=2e-6)
    description = json.loads((tmp_path / "p.stablehlo.json").read_text())
    assert [one["name"] for one in description["inputs"]] == ["visible", "infrared"]
    assert "prompt_ids" not in description and SENTENCE in description["prompt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.stablehlo", "p.stablehlo.json"]


def test_clip_prompts_are_in_the_file_and_in_the_program(tmp_path, monkeypatch):
    """Another form of text: its tokens are constants, and the ids are looked up in the program."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    prompts = encode_prompts(str(write_clip(tmp_path / "clip")))
    config = {"name": "lure", "preset": "tiny", "text": "clip", "dtype": "float32", "remat": False}
    config["clip"] = str(tmp_path / "clip")
    weights.save(tmp_path / "model", random_params(config=config), config, prompts=prompts)
    export.export(str(tmp_path / "model"), "safetensors", tmp_path / "m.safetensors")
    released = weights.load(tmp_path / "m.safetensors")
    assert released.model.prompts == prompts and released.config["clip"] == config["clip"]
    np.testing.assert_array_equal(released.model.prompts.tokens, prompts.tokens)
    mixed = Fuser(released).read_prompt({"visible": "noise"})  # tokens of a sentence, and ids to be looked up
    fused = jax.eval_shape(portable.fusion(released, mixed), *portable._abstract(released, mixed))
    assert str(fused.shape) == "(b, h, w, 3)"


def test_a_two_stream_model_has_images_alone(tmp_path):
    config = {"name": "two_stream", "preset": "tiny", "dtype": "float32"}
    model = registry.build(ConfigDict(config))
    abstract = nn.unbox(jax.eval_shape(lambda key: registry.initialise(model, key), jax.random.key(0)))
    weights.save(tmp_path / "model", jax.tree.map(lambda leaf: np.zeros(leaf.shape), abstract), config)
    arguments = ("--model", tmp_path / "model", "--format", "stablehlo", "--output", tmp_path / "s.stablehlo")
    _says(_lure(*arguments, "--prompt", "noise"), "'noise'", "a two_stream model reads no text")
    assert _lure(*arguments).exit_code == 0
    exported = jax.export.deserialize(bytearray((tmp_path / "s.stablehlo").read_bytes()))
    assert [str(aval.shape) for aval in exported.in_avals] == ["(b, h, w, 3)", "(b, h, w, 1)"]
    assert str(exported.out_avals[0].shape) == "(b, h, w, 3)"


def test_complaints_before_any_work(folder, file, tmp_path):
    _says(_lure("--model", folder, "--format", "safetensors", "--output", tmp_path / "m.bin"), "m.bin", ".safetensors")
    _says(_lure("--model", folder, "--format", "orbax", "--output", folder), "already exists", "--overwrite")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    _says(
        _lure("--model", folder, "--format", "orbax", "--output", tmp_path / "mine", "--overwrite"),
        "is no earlier export",
    )
    baked = ("--format", "orbax", "--output", tmp_path / "o", "--prompt", "noise")
    _says(_lure("--model", folder, *baked), "--prompt 'noise' can't be baked into orbax")
    _says(_lure("--model", "lure_huge", "--format", "orbax", "--output", tmp_path / "o"), "no model 'lure_huge'")
    (tmp_path / "e.safetensors").write_bytes(b"")
    _says(
        _lure("--model", tmp_path / "e.safetensors", "--format", "orbax", "--output", tmp_path / "o"), "not a readable"
    )
    save_file({"a": np.zeros(2)}, tmp_path / "f.safetensors")
    _says(
        _lure("--model", tmp_path / "f.safetensors", "--format", "orbax", "--output", tmp_path / "o"),
        "lacks 'lure_jax'",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.safetensors", "f.safetensors", "mine"]
    assert (tmp_path / "mine" / "thesis.tex").exists()


@pytest.mark.skipif(importlib.util.find_spec("jax2onnx") is not None, reason="jax2onnx is here")
def test_without_jax2onnx_the_commands_are_told(tmp_path):
    result = _lure("--format", "onnx", "--output", tmp_path / "my model.onnx")
    _says(result, "onnxenv/bin/pip install --no-deps", "'jax2onnx>=0.17,<0.18'", f"--output '{tmp_path}/my model.onnx'")
    assert not list(tmp_path.iterdir())


def test_the_pinned_requirements_are_the_told_ones():
    lines = (ROOT / "docs" / "requirements-onnx.txt").read_text().splitlines()
    pinned = [line.split("==")[0] for line in lines if not line.startswith("#")]
    assert pinned == [re.split("[>=]", package)[0] for package in export.ONNX_PACKAGES]
