"""CLIP's text tower: the same numbers as torch's, the shapes of the three sizes, and its config."""

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_clip import CONFIG, tensors

from lure_jax.text import clip, clip_files
from lure_jax.text.clip import ClipConfig, ClipError, ClipTower

SMALL = {  # heads of one and of many channels, both activations, one layer and several
    "quick_gelu": CONFIG,
    "gelu": CONFIG | dict(hidden_act="gelu", num_hidden_layers=1, num_attention_heads=24, layer_norm_eps=1e-3),
    "wide": CONFIG | dict(hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=1),
}


def sentences(config: dict, padded: bool) -> tuple[np.ndarray, np.ndarray]:
    """Random ids (B,L) and mask; the end mark is the last word of the vocabulary."""
    rng, length, end = np.random.default_rng(1), config["max_position_embeddings"], config["vocab_size"] - 1
    ids = rng.integers(0, end, (3, length))
    lengths = np.array([2, 9, length]) if padded else np.full(3, length)
    mask = np.arange(length) < lengths[:, None]
    ids = np.where(mask, ids, end)
    ids[np.arange(3), lengths - 1] = end
    return ids, mask


@pytest.mark.parametrize("padded", [False, True], ids=["unpadded", "padded"])
@pytest.mark.parametrize("name", SMALL)
def test_parity_with_torch(name, padded, tmp_path):
    torch = pytest.importorskip("torch", reason="the oracle: pip install -e '.[test,test-full]'")
    from transformers import CLIPTextConfig, CLIPTextModel

    config = SMALL[name]
    torch.manual_seed(0)
    end = config["vocab_size"] - 1
    oracle = CLIPTextModel(CLIPTextConfig(**config, bos_token_id=end - 1, eos_token_id=end, pad_token_id=end)).eval()
    shapes = {key: tuple(value.shape) for key, value in oracle.state_dict().items()}
    random = tensors(config)
    prefix = "text_model." if "text_model.final_layer_norm.weight" in shapes else ""
    oracle.load_state_dict({prefix + key: torch.tensor(value) for key, value in random.items()})
    oracle.save_pretrained(tmp_path)
    files = clip_files.ClipFiles(tmp_path / "model.safetensors", (), ClipConfig.read(config))
    ids, mask = sentences(config, padded)
    with torch.no_grad():
        expected = oracle(
            input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask.astype(int)) if padded else None
        ).last_hidden_state.numpy()
    ours = ClipTower(files.config).apply({"params": clip_files.read_params(files)}, jnp.asarray(ids))
    error = float(np.abs(np.asarray(ours) - expected)[mask].max())
    print(f"parity: {name}, {'padded' if padded else 'unpadded'}: max abs error {error:.1e}")
    assert np.abs(expected[mask]).max() > 1
    assert error < 2e-5


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_a_token_does_not_see_what_follows(act):
    config = ClipConfig.read(CONFIG | dict(hidden_act=act))
    params = clip.params_of(tensors(config._asdict()), config)
    ids = sentences(CONFIG, padded=False)[0]
    tower = ClipTower(config)
    whole, short = (tower.apply({"params": params}, x) for x in (ids, ids[:, :10]))
    np.testing.assert_allclose(whole[:, :10], short, atol=2e-5)
    assert np.abs(whole[:, 1] - tower.apply({"params": params}, ids + (np.arange(77) == 0))[:, 1]).max() > 1e-3


def test_sizes_of_the_published_towers():
    base = ClipConfig.read({"text_config": {"hidden_size": 512}, "text_config_dict": None, "projection_dim": 512})
    assert base == ClipConfig()
    large = ClipConfig.read({"text_config": dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12)})
    parameters = [sum(int(np.prod(shape)) for shape in clip.shapes(config).values()) for config in (base, large)]
    assert parameters == [63_165_952, 123_060_480]
    assert clip.shapes(large)["encoder.layers.11.mlp.fc1.weight"] == (3072, 768)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"hidden_act": "relu"}, "'relu' is not known; CLIP has quick_gelu or gelu"), ({"hidden_size": 25}, "by 4")],
)
def test_an_unfit_config_is_named(changes, message):
    with pytest.raises(ClipError, match=message):
        ClipConfig.read(CONFIG | changes)
