"""CLIP's files: every spelling of the weights gives one tower, and what is missing or unfit is said with its cure."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization
from flax.traverse_util import unflatten_dict
from safetensors.flax import save_file as save_jax
from safetensors.numpy import load_file, save_file
from tiny_clip import CONFIG, MERGES, tensors, write_clip

from lure_jax.text import clip, clip_files
from lure_jax.text.clip import ClipError


@pytest.fixture
def folder(tmp_path):
    return write_clip(tmp_path / "clip")


def read(location):
    return clip_files.read_params(clip_files.find(str(location)))


def assert_same(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_all_spellings_of_the_weights_are_one_tower(folder, tmp_path):
    expected = clip.params_of(tensors(CONFIG), clip.ClipConfig.read(CONFIG))
    assert_same(read(folder), expected)
    assert_same(read(folder / "model.safetensors"), expected)
    assert_same(read(write_clip(tmp_path / "bare", prefix="")), expected)

    whole = write_clip(tmp_path / "whole")
    (whole / "config.json").write_text(json.dumps({"model_type": "clip", "text_config": CONFIG, "hidden_size": 7}))
    others = {"vision_model.embeddings.position_embedding.weight": np.zeros((5, 6), np.float32)}
    others["text_model.embeddings.position_ids"] = np.arange(77)[None]
    save_file(load_file(whole / "model.safetensors") | others, whole / "only.safetensors")
    (whole / "model.safetensors").unlink()
    assert_same(read(whole), expected)
    digests = {clip_files.digest(clip_files.find(str(path)).config, read(path)) for path in (folder, whole)}
    assert len(digests) == 1


def test_flax_weights_are_read_where_there_are_no_others(folder):
    expected = read(folder)
    flat = {}
    for name, leaf in tensors(CONFIG).items():
        *modules, kind = name.split(".")
        if kind == "weight":
            kind = "embedding" if "embedding" in modules[-1] else "scale" if "norm" in modules[-1] else "kernel"
        flat["text_model", *modules, kind] = leaf.T if kind == "kernel" else leaf
    (folder / "flax_model.msgpack").write_bytes(serialization.msgpack_serialize(unflatten_dict(flat)))
    (folder / "model.safetensors").unlink()
    assert_same(read(folder), expected)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_read_as_float32(folder, dtype):
    half = {name: jnp.asarray(leaf, dtype) for name, leaf in tensors(CONFIG).items()}
    save_jax(half, folder / "model.safetensors")
    params = read(folder)
    assert params["token_embedding"]["embedding"].dtype == np.float32
    expected = np.asarray(half["embeddings.token_embedding.weight"], np.float32)
    np.testing.assert_array_equal(params["token_embedding"]["embedding"], expected)


def test_the_config_belongs_to_the_digest(folder):
    files = clip_files.find(str(folder))
    params = clip_files.read_params(files)
    one, two = (clip_files.digest(files.config._replace(hidden_act=act), params) for act in ("quick_gelu", "gelu"))
    assert one != two and len(one) == 64


def test_tokens_end_with_the_first_end_mark(folder):
    files = clip_files.find(str(folder))
    start, end = 198, 199
    rows = clip_files.tokenize(files, ["Dark, rain", "noise <|endoftext|> rain"])
    vocabulary = json.loads((folder / "vocab.json").read_text())
    words = [vocabulary[word] for word in ("dark</w>", ",</w>", "rain</w>", "noise</w>")]
    assert rows == [[start, *words[:3], end], [start, words[3], end]]
    assert len(vocabulary) == CONFIG["vocab_size"] and MERGES[-1] == "dar k</w>"
    with pytest.raises(ClipError, match=r"has 102 tokens and CLIP reads 77; say it in fewer words"):
        clip_files.tokenize(files, ["x" * 100])


def _remove(name):
    return lambda folder: (folder / name).unlink()


def _write(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove("config.json"), "config.json is missing; `hf download openai/clip-vit-base-patch32 config.json"),
        (_remove("merges.txt"), "has no tokenizer, neither tokenizer.json nor vocab.json with merges.txt; `hf"),
        (_remove("model.safetensors"), r"neither model.safetensors nor flax_model.msgpack; .*save_pretrained\("),
        (_write("config.json", "{"), "config.json does not describe a CLIP"),
        (_write("config.json", json.dumps(CONFIG | {"hidden_size": 32})), r"\(24,\) there and \(32,\) by the config"),
        (_write("config.json", json.dumps(CONFIG | {"num_hidden_layers": 3})), "layers.2.* is absent there"),
        (_write("model.safetensors", "x"), "is not a readable safetensors file"),
        (_write("vocab.json", "{"), "has an unreadable tokenizer .* `hf download"),
        (_write("vocab.json", json.dumps({"<|endoftext|>": 900, "<|startoftext|>": 1})), "has a tokenizer with more"),
    ],
    ids=range(9),
)
def test_what_is_missing_or_unfit_is_said_with_its_cure(folder, change, message):
    if "with more" in message:
        (folder / "merges.txt").write_text("#version: 0.2\n")
    change(folder)
    with pytest.raises(ClipError, match=message) as caught:
        files = clip_files.find(str(folder))
        clip_files.read_params(files)
        clip_files.tokenize(files, ["rain"])
    assert "\n" not in str(caught.value)


def test_two_files_and_none_of_the_usual_name(folder):
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    (folder / "b.safetensors").touch()
    with pytest.raises(ClipError, match="has 2 .safetensors files .* such as .*a.safetensors"):
        clip_files.find(str(folder))


@pytest.mark.parametrize("location", ["", "models/no/clip", "clip"])
def test_what_is_neither_a_folder_nor_a_name(location):
    with pytest.raises(ClipError, match="no folder, no .safetensors file and no name on the Hugging Face hub"):
        clip_files.find(location)


def test_a_hub_name_without_a_network(monkeypatch, tmp_path):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    asked = []

    def offline(name, **options):
        asked.append((name, options["revision"], options["local_files_only"]))
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ClipError, match="could not be fetched .*; run `hf download openai/clip --local-dir DIR`"):
        clip_files.find("openai/clip@refs/pr/1")
    assert asked == [("openai/clip", "refs/pr/1", True), ("openai/clip", "refs/pr/1", False)]


def test_a_hub_name_takes_flax_weights_only_where_there_are_no_others(monkeypatch, folder):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    wanted = []

    def snapshot(name, *, allow_patterns, local_files_only, revision):
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not yet")
        wanted.append(allow_patterns[-1])
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert clip_files.find("openai/clip").weights == folder / "model.safetensors"
    (folder / "model.safetensors").rename(folder / "flax_model.msgpack")
    assert clip_files.find("openai/clip").weights == folder / "flax_model.msgpack"
    assert wanted == ["model.safetensors", "model.safetensors", "flax_model.msgpack"]


def test_no_torch_is_imported(folder):
    code = (
        "import sys; from lure_jax.text import clip_files as c; "
        f"f = c.find({str(folder)!r}); c.read_params(f); c.tokenize(f, ['rain']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=300, capture_output=True).returncode == 0
