"""The `table` text source: learned tokens for each condition, no language model and no download."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Int

from lure_jax.text.asked import asked_by
from lure_jax.text.conditions import CONDITIONS
from lure_jax.text.prompts import PROMPT_CONDITIONS
from lure_jax.text.source import Text


class TableText(nn.Module):
    """Looks up the learned tokens of each prompt's condition; all paraphrases of one share them.

    After LURE (arXiv 2503.07033), whose text comes from CLIP; the table is our deviation from it.

    Attributes:
      width: Length E of a token.
      tokens_per_condition: Tokens K of one condition.
    """

    width: int
    tokens_per_condition: int = 8

    @nn.compact
    def __call__(self, prompt_ids: Int[Array, "B P"]) -> Text:
        """Prompts to tokens.

        Args:
          prompt_ids: Indices into `PROMPTS`, -1 where there is no prompt.

        Returns:
          Text of L = P * K tokens (B,L,E), zero and masked out where there is no prompt.
        """
        table = self.param(
            "table",
            nn.with_logical_partitioning(nn.initializers.normal(1.0), ("condition", "token", "text")),
            (len(CONDITIONS), self.tokens_per_condition, self.width),
        )
        batch, prompts = prompt_ids.shape
        present = prompt_ids >= 0
        conditions = jnp.asarray(PROMPT_CONDITIONS)[jnp.maximum(prompt_ids, 0)]
        tokens = jnp.where(present[..., None, None], table[conditions], 0.0)
        return Text(
            tokens.reshape(batch, prompts * self.tokens_per_condition, self.width),
            jnp.repeat(present, self.tokens_per_condition, axis=1),
            asked_by(prompt_ids),
        )
