"""A CLIP of a few thousand random parameters as Hugging Face's files, for tests without the real ones."""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

from lure_jax.text import clip

MERGES = ("n o", "no i", "noi s", "nois e</w>", "r a", "ra i", "rai n</w>", "d a", "da r", "dar k</w>")
CONFIG = dict(
    vocab_size=200, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=77, hidden_act="quick_gelu",
)  # fmt: skip


def tensors(config: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights by Hugging Face's names; norms near 1."""
    rng, made = np.random.default_rng(seed), {}
    for name, shape in clip.shapes(clip.ClipConfig.read(config)).items():
        spread = 1.0 if "embedding" in name else 0.1 if len(shape) == 1 else 1.5 / np.sqrt(shape[-1])
        made[name] = (spread * rng.standard_normal(shape) + ("norm" in name and "weight" in name)).astype(np.float32)
    return made


def write_tokenizer(folder: pathlib.Path) -> None:
    """A byte-level BPE of single printable ASCII characters and `MERGES`."""
    letters = [chr(code) for code in range(33, 127)]
    words = letters + [letter + "</w>" for letter in letters] + ["".join(merge.split()) for merge in MERGES]
    ids = {word: index for index, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")


def write_clip(folder: pathlib.Path, seed: int = 0, prefix: str = "text_model.", **changes) -> pathlib.Path:
    """A folder with config.json, model.safetensors and a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIG | changes
    (folder / "config.json").write_text(json.dumps(config))
    save_file({prefix + name: leaf for name, leaf in tensors(config, seed).items()}, folder / "model.safetensors")
    write_tokenizer(folder)
    return folder
