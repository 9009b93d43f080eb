"""A model whose every parameter is random, so that no part of it is an identity: for tests without weights."""

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from lure_jax.inference import weights
from lure_jax.models import registry

MODEL = {"name": "lure", "preset": "tiny", "text": "table", "dtype": "float32", "remat": False}


def random_params(seed=0, config=MODEL):
    """Parameters of order one over the square root of their inputs, none of them zero."""
    model = registry.build(ConfigDict(dict(config)))
    abstract = nn.unbox(jax.eval_shape(lambda key: registry.initialise(model, key), jax.random.key(0)))
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        values = rng.standard_normal(leaf.shape)
        if name in ("scale", "temperature"):
            return (1 + 0.3 * values).astype(np.float32)
        if name == "bias" or name == "table":
            return (values * (1.0 if name == "table" else 0.1)).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1]) if "depthwise" not in str(path) else 9
        gain = 3.0 if "modulation" in str(path) else 0.7  # so that the text counts
        return (gain * values / np.sqrt(fan_in)).astype(np.float32)

    params = jax.tree_util.tree_map_with_path(draw, abstract)
    params["decoder"]["conv"]["kernel"] *= 0.5  # with the bias: few pixels are clipped then
    params["decoder"]["conv"]["bias"] += 0.5
    return params


def save_random_model(folder, edit=None, thresholds=None):
    """Writes the model as a released one; `edit` may change the parameters before."""
    params = random_params()
    if edit:
        edit(params)
    weights.save(folder, params, MODEL, thresholds)
    return folder
