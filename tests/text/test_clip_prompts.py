"""The clip source: what it looks up, what it trains, and what is computed once and kept on the disk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from tiny_clip import write_clip

from lure_jax.text import clip_files, clip_prompts
from lure_jax.text.asked import PARTS, asks_for
from lure_jax.text.clip import ClipError, ClipTower
from lure_jax.text.clip_prompts import ClipEncoder, ClipText, PromptTokens, encode_prompts
from lure_jax.text.conditions import condition_id
from lure_jax.text.prompts import PROMPTS
from lure_jax.text.source import Text, text_source

IDS = np.array([[0, -1], [25, 139], [-1, -1]], np.int32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield clip_prompts.cache_folder()


@pytest.fixture(scope="module")
def prompts(folder):
    return encode_prompts(folder)


def test_prompts_are_the_towers_tokens_up_to_the_end_mark(folder, prompts):
    files = clip_files.find(folder)
    row = clip_files.tokenize(files, [PROMPTS[25]])[0]
    expected = ClipTower(files.config).apply({"params": clip_files.read_params(files)}, jnp.asarray([row]))[0]
    assert prompts.mask[25].sum() == len(row) < 77
    np.testing.assert_allclose(prompts.tokens[25, : len(row)], expected, atol=2e-5)
    assert (prompts.tokens[~prompts.mask] == 0).all() and prompts.mask.any(0).all()
    assert prompts.tower == clip_files.digest(files.config, clip_files.read_params(files))


def test_sentences_are_encoded_once(folder, prompts, cache, monkeypatch):
    kept = sorted(cache.rglob("*"))
    assert len([path for path in kept if path.suffix == ".npy"]) == len(PROMPTS) and not list(cache.rglob(".*"))
    encoder = ClipEncoder(folder)
    calls = []
    tokenize = clip_files.tokenize
    monkeypatch.setattr(clip_files, "tokenize", lambda files, new: calls.append(new) or tokenize(files, new))
    again = encode_prompts(folder)
    assert not calls and again == prompts and hash(again) == hash(prompts)
    np.testing.assert_array_equal(again.tokens, prompts.tokens)

    first = encoder.encode(["some rain", PROMPTS[3], "some rain"])
    np.testing.assert_array_equal(first[0], first[2])
    broken = max(cache.rglob("*.npy"), key=lambda path: path.stat().st_mtime_ns)
    broken.write_bytes(broken.read_bytes()[:-9])
    np.testing.assert_array_equal(encoder.encode(["some rain"])[0], first[0])
    assert calls == [["some rain"], ["some rain"]]


def test_another_tower_or_tokenizer_is_another_encoding(folder, prompts, cache, tmp_path):
    other = write_clip(tmp_path / "other", seed=1)
    encoder = ClipEncoder(str(other))
    assert encoder.tower != prompts.tower
    assert np.abs(encoder.encode([PROMPTS[0]])[0] - prompts.tokens[0, prompts.mask[0]]).max() > 0.1
    with pytest.raises(ClipError, match=rf"another CLIP \({encoder.tower[:12]}\) than .* \({prompts.tower[:12]}\)"):
        ClipEncoder(str(other), prompts.tower)
    count = len(list(cache.rglob("*.npy")))
    same = write_clip(tmp_path / "same")
    (same / "merges.txt").write_text("#version: 0.2\nn o\n")
    encoder = ClipEncoder(str(same), prompts.tower)
    assert len(encoder.encode(["noise"])[0]) == 6 and len(list(cache.rglob("*.npy"))) == count + 1


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path, monkeypatch):
    (tmp_path / "lure_jax").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ClipError, match="cannot hold the encoded sentences .* set XDG_CACHE_HOME"):
        ClipEncoder(folder).encode(["rain"])


def test_the_bytes_of_prompts_are_exact_and_without_padding(prompts):
    data = prompts.write()
    read = PromptTokens.read(data)
    assert read == prompts
    np.testing.assert_array_equal(read.tokens, prompts.tokens)
    np.testing.assert_array_equal(read.mask, prompts.mask)
    assert len(data) < 4 * prompts.tokens[prompts.mask].size + 200_000


def test_prompts_of_another_version_are_refused(prompts):
    fewer = PromptTokens(PROMPTS[1:], prompts.tokens[1:], prompts.mask[1:], prompts.tower)
    with pytest.raises(ClipError, match="'a clean visible image', a prompt of this version of lure-jax, is not among"):
        PromptTokens.read(fewer.write())
    with pytest.raises(ClipError, match="unreadable"):
        PromptTokens.read(b"no zip")


def test_the_module_looks_up_tokens_and_has_no_parameters_at_clips_width(prompts):
    module = text_source("clip", 24, prompts)
    variables = module.init(jax.random.key(0), IDS)
    assert not variables
    text, length = module.apply({}, IDS), prompts.mask.shape[1]
    np.testing.assert_array_equal(text.tokens[0, :length], prompts.tokens[0])
    np.testing.assert_array_equal(text.tokens[1], np.concatenate(prompts.tokens[[25, 139]]))
    np.testing.assert_array_equal(text.mask[1], np.concatenate(prompts.mask[[25, 139]]))
    assert not text.mask[0, length:].any() and not text.mask[2].any() and not np.asarray(text.tokens[2]).any()


def test_at_another_width_one_linear_map_is_trained(prompts):
    module = ClipText(6, prompts)
    variables = module.init(jax.random.key(0), IDS)
    kernel = variables["params"]["projection"]["kernel"]
    assert kernel.names == ("in", "text") and jax.tree.map(np.shape, nn.unbox(variables)["params"]) == {
        "projection": {"kernel": (24, 6)}
    }
    text = module.apply(nn.unbox(variables), IDS)
    expected = prompts.tokens[139] @ np.asarray(kernel.unbox())
    np.testing.assert_allclose(text.tokens[1, -prompts.mask.shape[1] :], expected, atol=1e-4)
    assert not np.asarray(text.tokens)[~np.asarray(text.mask)].any()
    free = module.apply(nn.unbox(variables), Text(prompts.tokens[:2], prompts.mask[:2], text.asked[:2]), method="read")
    np.testing.assert_allclose(free.tokens[0], text.tokens[0, : prompts.mask.shape[1]], atol=1e-5)


def test_free_sentences_have_one_shape(folder):
    encoder = ClipEncoder(folder)
    for sentence, name, part in (("rain", "rain", "deweathering"), ("it is rather dark", "low_light", "toning")):
        text = encoder.text(sentence, [condition_id("visible", name)])
        assert [p for p in PARTS if asks_for(text.asked[None], p)[0]] == [part]
        assert text.tokens.shape == (77, 24) and text.mask.shape == (77,)
        assert text.mask.sum() == len(encoder.encode([sentence])[0])


def test_batches_of_all_lengths_agree(folder):
    files = clip_files.find(folder)
    params = clip_files.read_params(files)
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 198, length).tolist() for length in (2, 15, 17, 77, *[5] * 40)]
    together = clip_prompts.run_tower(files.config, params, rows)
    assert [len(row) for row in together] == [len(row) for row in rows]
    for index in (0, 3, 43):
        alone = clip_prompts.run_tower(files.config, params, [rows[index]])[0]
        np.testing.assert_allclose(together[index], alone, atol=2e-5)


def test_only_clip_reads_encoded_prompts(prompts):
    for name, given in (("clip", None), ("table", prompts)):
        with pytest.raises(ValueError, match=f"'{name}'; clip, and it alone, reads encoded prompts."):
            text_source(name, 8, given)
