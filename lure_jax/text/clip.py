"""CLIP's text tower (Radford et al., 2021, arXiv 2103.00020) in Linen: token ids to tokens after the last norm."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Int

from lure_jax.errors import UserError

ACTIVATIONS = {
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "gelu": lambda x: nn.gelu(x, approximate=False),
}


class ClipError(UserError):
    """CLIP's files are not there or cannot be used; the message is one sentence."""


class ClipConfig(NamedTuple):
    """A text tower by the names of Hugging Face's `CLIPTextConfig`; the defaults are those of ViT-B/32 and B/16."""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "ClipConfig":
        """From a config.json of a `CLIPModel` or of a `CLIPTextModel`; what it leaves out has the default.

        Raises:
          ClipError: an activation that CLIP does not have, or a width that its heads do not divide.
        """
        values = values | (values.get("text_config") or {}) | (values.get("text_config_dict") or {})
        config = cls(**{key: values[key] for key in cls._fields if values.get(key) is not None})
        if config.hidden_act not in ACTIVATIONS:
            raise ClipError(f"hidden_act={config.hidden_act!r} is not known; CLIP has {' or '.join(ACTIVATIONS)}.")
        if config.hidden_size % config.num_attention_heads:
            raise ClipError(
                f"hidden_size={config.hidden_size} is not divisible by {config.num_attention_heads} attention heads."
            )
        return config


class ClipLayer(nn.Module):
    """x += attention(norm(x)), causal, then x += mlp(norm(x))."""

    config: ClipConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B L E"]) -> Float[Array, "B L E"]:
        config = self.config
        split = (*x.shape[:2], config.num_attention_heads, -1)
        y = nn.LayerNorm(config.layer_norm_eps, use_fast_variance=False, name="layer_norm1")(x)
        query, key, value = (nn.Dense(config.hidden_size, name=f"{name}_proj")(y).reshape(split) for name in "qkv")
        logits = jnp.einsum("blhd,bmhd->bhlm", query, key) / query.shape[-1] ** 0.5
        earlier = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
        weights = jax.nn.softmax(jnp.where(earlier, logits, -jnp.inf), axis=-1)
        read = jnp.einsum("bhlm,bmhd->blhd", weights, value).reshape(x.shape)
        x = x + nn.Dense(config.hidden_size, name="out_proj")(read)
        y = nn.LayerNorm(config.layer_norm_eps, use_fast_variance=False, name="layer_norm2")(x)
        y = ACTIVATIONS[config.hidden_act](nn.Dense(config.intermediate_size, name="fc1")(y))
        return x + nn.Dense(config.hidden_size, name="fc2")(y)


class ClipTower(nn.Module):
    """The transformer over a sentence's tokens; a token sees itself and the ones before it.

    Padding after a sentence's end therefore changes nothing in it, and needs no mask.
    """

    config: ClipConfig

    @nn.compact
    def __call__(self, ids: Int[Array, "B L"]) -> Float[Array, "B L E"]:
        """Token ids (B,L), at most `max_position_embeddings` long, to tokens (B,L,E) after the final norm."""
        config = self.config
        x = nn.Embed(config.vocab_size, config.hidden_size, name="token_embedding")(ids)
        positions = nn.Embed(config.max_position_embeddings, config.hidden_size, name="position_embedding")
        x = x + positions(jnp.arange(ids.shape[1]))
        for i in range(config.num_hidden_layers):
            x = ClipLayer(config, name=f"layers_{i}")(x)
        return nn.LayerNorm(config.layer_norm_eps, use_fast_variance=False, name="final_layer_norm")(x)


def shapes(config: ClipConfig) -> dict[str, tuple[int, ...]]:
    """Hugging Face's names of a text tower's tensors, without a prefix, and their shapes."""
    return {_name(path): leaf.shape[::-1] if path[-1] == "kernel" else leaf.shape for path, leaf in _leaves(config)}


def params_of(tensors: Mapping[str, Float[np.ndarray, "..."]], config: ClipConfig) -> Any:
    """The tower's parameters from the tensors that `shapes` names."""
    found = {path: tensors[_name(path)] for path, _ in _leaves(config)}
    return unflatten_dict({path: leaf.T if path[-1] == "kernel" else leaf for path, leaf in found.items()})


def _leaves(config: ClipConfig) -> list[tuple[tuple[str, ...], jax.ShapeDtypeStruct]]:
    abstract = jax.eval_shape(ClipTower(config).init, jax.random.key(0), jnp.zeros((1, 1), int))["params"]
    return list(flatten_dict(abstract).items())


def _name(path: tuple[str, ...]) -> str:
    """The path of a parameter in Linen by Hugging Face's name."""
    *modules, leaf = path
    group = {"token_embedding": "embeddings.", "position_embedding": "embeddings."}.get(modules[0], "")
    if modules[0].startswith("layers_"):
        layer, inner = modules[0].removeprefix("layers_"), modules[1]
        inside = "self_attn." if inner.endswith("_proj") else "mlp." if inner.startswith("fc") else ""
        modules = [f"encoder.layers.{layer}.{inside}{inner}"]
    return f"{group}{modules[0]}.{'bias' if leaf == 'bias' else 'weight'}"
