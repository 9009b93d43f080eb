"""Text-Guided Attention and the inner residual block that carries it (after LURE; reconstruction)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lure_jax.models.blocks import (
    Conv3x3,
    Depthwise3x3,
    Dtype,
    LayerNorm,
    Pointwise,
    SeparableConv3x3,
    TransformerBlock,
)
from lure_jax.models.masks import Mask
from lure_jax.text.source import Text


class TextGuidedAttention(nn.Module):
    """Every pixel asks the text what to do with it: cross-attention, then a per-pixel affine of the features.

    Q = Wq DW3x3(LN F), K = Wk T, V = Wv T, O = concat(softmax(Q K^T / sqrt(d) + mask) V),
    [gamma, beta] = W2 gelu(W1 O), F' = F + gamma * LN(F) + beta. W1 holds attention's own output projection
    (two linear maps in a row are one). W2 starts at zero, so the text starts without effect. After LURE (TGA);
    reconstruction. The attention weights (B,HW,h,L) and the modulation
    (B,H,W,2C) are sown into the collection "maps".
    """

    heads: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], text: Text, mask: Mask = None) -> Float[Array, "B H W C"]:
        batch, height, width, channels = x.shape
        dense = dict(use_bias=False, dtype=self.dtype)
        normed = LayerNorm(self.dtype, name="norm")(x)
        query = Depthwise3x3(dtype=self.dtype, name="depthwise")(normed, mask)
        query = Pointwise(channels, axes=("in", "wide"), name="query", **dense)(query)
        key = Pointwise(channels, axes=("text", "wide"), name="key", **dense)(text.tokens)
        value = Pointwise(channels, axes=("text", "wide"), name="value", **dense)(text.tokens)
        split = (self.heads, channels // self.heads)
        query = query.reshape(batch, height * width, *split)
        key, value = (a.reshape(batch, -1, *split) for a in (key, value))
        logits = jnp.einsum("bnhd,blhd->bnhl", query, key).astype(jnp.float32) / split[1] ** 0.5
        weights = jax.nn.softmax(jnp.where(text.mask[:, None, None, :], logits, -1e9), axis=-1)
        self.sow("maps", "weights", weights)
        out = jnp.einsum("bnhl,blhd->bnhd", weights.astype(self.dtype), value)
        out = out.reshape(batch, height, width, channels)
        out = nn.gelu(Pointwise(channels, axes=("wide", "out"), name="hidden", dtype=self.dtype)(out))
        modulation = Pointwise(2 * channels, init=nn.initializers.zeros, name="modulation", dtype=self.dtype)(out)
        self.sow("maps", "affine", modulation)
        gamma, beta = jnp.split(modulation, 2, -1)
        return x + gamma * normed + beta


class ChannelAffine(nn.Module):
    """What Text-IF does instead of TGA, for comparison: one affine of the features for all pixels.

    [gamma, beta] = W2 gelu(W1 mean(T)), F' = F + gamma * LN(F) + beta; the mean is over the tokens present, and W2
    starts at zero. The 2C hidden channels give it as many parameters as TGA, but for its depthwise convolution.
    """

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], text: Text) -> Float[Array, "B H W C"]:
        channels = x.shape[-1]
        present = text.mask[..., None]
        mean = (text.tokens * present).sum(1) / jnp.maximum(present.sum(1), 1)
        hidden = nn.gelu(Pointwise(2 * channels, axes=("text", "wide"), name="hidden", dtype=self.dtype)(mean))
        modulation = Pointwise(2 * channels, init=nn.initializers.zeros, axes=("wide", "out"), name="modulation",
                               dtype=self.dtype)(hidden)  # fmt: skip
        gamma, beta = jnp.split(modulation[:, None, None], 2, -1)
        return x + gamma * LayerNorm(self.dtype, name="norm")(x) + beta


class InnerResidualBlock(nn.Module):
    """IRB(F, T) = F + Conv3x3(TB_n(...TB_1(TGA(F, T)))); without a text there is no TGA (after LURE; reconstruction).

    The lite form's convolution is separable. With 0 `heads` there is no channel attention, and the text has one head.
    Without `per_pixel`, the TGA is a `ChannelAffine`.
    """

    blocks: int
    heads: int
    expansion: float
    lite: bool = False
    dtype: Dtype = jnp.float32
    per_pixel: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], text: Text | None = None, mask: Mask = None
    ) -> Float[Array, "B H W C"]:
        y = x
        if text is not None and self.per_pixel:
            y = TextGuidedAttention(max(self.heads, 1), self.dtype, name="tga")(y, text, mask)
        elif text is not None:
            y = ChannelAffine(self.dtype, name="channel_affine")(y, text)
        for i in range(self.blocks):
            y = TransformerBlock(self.heads, self.expansion, self.lite, dtype=self.dtype, name=f"block_{i}")(y, mask)
        conv = SeparableConv3x3 if self.lite else Conv3x3
        return x + conv(x.shape[-1], dtype=self.dtype, name="conv")(y, mask)
