"""The `one_hot` text source: which conditions are named and nothing else, to compare the learned table with."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Int

from lure_jax.text.asked import asked_by
from lure_jax.text.conditions import CONDITIONS
from lure_jax.text.prompts import PROMPT_CONDITIONS
from lure_jax.text.source import Text


class OneHotText(nn.Module):
    """One token for each prompt, sqrt(E) at the place of its condition and 0 elsewhere; no parameters.

    The factor makes it as long as a token of the table is at first.

    Attributes:
      width: Length E of a token, at least 13.
    """

    width: int

    @nn.compact
    def __call__(self, prompt_ids: Int[Array, "B P"]) -> Text:
        """Prompts to tokens.

        Args:
          prompt_ids: Indices into `PROMPTS`, -1 where there is no prompt.

        Returns:
          Text of P tokens (B,P,E), zero and masked out where there is no prompt.
        """
        present = prompt_ids >= 0
        conditions = jnp.asarray(PROMPT_CONDITIONS)[jnp.maximum(prompt_ids, 0)]
        codes = self.width**0.5 * jnp.eye(len(CONDITIONS), self.width)
        return Text(jnp.where(present[..., None], codes[conditions], 0.0), present, asked_by(prompt_ids))
