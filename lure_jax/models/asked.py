"""What the text asks of parts of the network that rest without it."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.models.blocks import Pointwise
from lure_jax.text.source import Text

BEFORE = ("levelling", "sharpening")  # parts of the encoder that repair its image
PARTS = ("lifting", "toning", "shrinking", *BEFORE)  # the first three add to its latent


class Asked(nn.Module):
    """How far the text asks for each part, at least 0: what the token says that asks for it most.

    In a new model any text may ask; which does is learnt, or set.
    """

    @nn.compact
    def __call__(self, text: Text) -> dict[str, Float[Array, "B 1 1 1"]]:
        asked = Pointwise(len(PARTS), axes=("text", "norm"), name="token")(text.tokens.astype(jnp.float32))
        asked = nn.relu(jnp.where(text.mask[..., None], asked, 0).max(1))[:, None, None]
        return dict(zip(PARTS, jnp.split(asked, len(PARTS), -1), strict=True))
