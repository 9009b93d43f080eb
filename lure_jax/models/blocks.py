"""The pieces every network is made of: norms, convolutions and transformer blocks (after Restormer)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from lure_jax.models.masks import Mask, masked, shared

Dtype = jax.typing.DTypeLike

STATISTICS = "statistics"  # the Flax collection of what is summed over the whole image
BRANCH_SCALE = 0.1  # a residual branch starts at a tenth of its input, so that the identity start holds


def scaled_init(scale: float = 1.0) -> Callable:
    """LeCun-normal initialisation, its standard deviation multiplied by `scale`."""
    return nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")


def identity_init(channels: int, scale: float = BRANCH_SCALE) -> Callable:
    """Passes the first `channels` inputs to the first `channels` outputs; the rest starts as `scaled_init(scale)`."""

    def init(key, shape, dtype=jnp.float32):
        kernel = scaled_init(scale)(key, shape, dtype)
        centre = tuple(n // 2 for n in shape[:-2])
        index = jnp.arange(channels)
        return kernel.at[..., :channels].set(0).at[(*centre, index, index)].set(1)

    return init


REMAT = {  # what the backward pass finds kept of a block; the rest it computes again
    "none": None,
    "blocks": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.save_only_these_names("pointwise"),
}


def rematerialised(block: type[nn.Module], remat: str) -> type[nn.Module]:
    """A block whose activations are computed again in the backward pass, but for what a policy of `REMAT` keeps.

    "none" keeps all, "blocks" only the block's input, "dots" also what its 1x1 convolutions give.
    """
    return block if remat == "none" else nn.remat(block, policy=REMAT[remat])


def image_wide(module: nn.Module, name: str, measured: Any) -> Any:
    """A statistic of the whole image, which a tile of it or the next frame of a video may borrow.

    Args:
      module: that computes it.
      name: in the collection "statistics".
      measured: array or tuple of arrays that the pixels at hand give; left in the collection where it is mutable.

    Returns:
      What the collection was given under that name, else `measured`.
    """
    given = module.get_variable(STATISTICS, name, measured)
    if module.is_mutable_collection(STATISTICS) and not module.is_initializing():
        module.put_variable(STATISTICS, name, measured)
    return given


@jax.custom_vjp
def depthwise3x3(x: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C"]) -> Float[Array, "B H W C"]:
    """Depthwise 3x3 convolution with zero border, as nine shifted multiply-adds.

    XLA's CPU backend runs a grouped convolution 15 times slower than this form.
    """
    height, width = x.shape[1:3]
    padded = _with_border(x)
    return sum(padded[:, i : i + height, j : j + width] * kernel[i, j] for i in range(3) for j in range(3))


def _depthwise_forward(x, kernel):
    return depthwise3x3(x, kernel), (x, kernel)


def _depthwise_backward(kept, gradient):
    x, kernel = kept
    taps = jax.lax.platform_dependent(_with_border(x), gradient, cpu=taps_by_rows, default=taps_at_once)
    return depthwise3x3(gradient, kernel[::-1, ::-1]), taps.reshape(kernel.shape).astype(kernel.dtype)


def taps_at_once(padded: Float[Array, "B H+2 W+2 C"], gradient: Float[Array, "B H W C"]) -> Float[Array, "9 C"]:
    """The gradient of a depthwise kernel as nine sums over the pixels, in float32."""
    height, width = gradient.shape[1:3]
    shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.stack([(x * gradient).sum((0, 1, 2), dtype=jnp.float32) for x in shifted])


def taps_by_rows(padded: Float[Array, "B H+2 W+2 C"], gradient: Float[Array, "B H W C"]) -> Float[Array, "9 C"]:
    """The same, each row added to nine rows of sums: XLA's CPU backend sums over pixels one channel after another."""
    height, width = gradient.shape[1:3]

    def add_row(sums, row):
        along = jax.lax.dynamic_slice_in_dim(gradient, row, 1, 1)
        rows = jax.lax.dynamic_slice_in_dim(padded, row, 3, 1)
        products = [rows[:, i : i + 1, j : j + width] * along for i in range(3) for j in range(3)]
        return [total + product for total, product in zip(sums, products, strict=True)], None

    zeros = jnp.zeros_like(gradient[:, :1], jnp.float32)
    sums, _ = jax.lax.scan(add_row, [zeros] * 9, jnp.arange(height))
    return jnp.stack([total.sum((0, 1, 2)) for total in sums])


depthwise3x3.defvjp(_depthwise_forward, _depthwise_backward)


def _with_border(x: Float[Array, "B H W C"]) -> Float[Array, "B H+2 W+2 C"]:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def unshuffle(x: Float[Array, "B H W C"], factor: int) -> Float[Array, "B H/f W/f C*f*f"]:
    """Space to depth; the channels of the top-left pixel come first."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // factor, factor, width // factor, factor, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // factor, width // factor, -1)


def shuffle(x: Float[Array, "B H W C*f*f"], factor: int) -> Float[Array, "B H*f W*f C"]:
    """Depth to space, the inverse of `unshuffle`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, factor, factor, channels // factor**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * factor, width * factor, -1)


@jax.custom_vjp
def pointwise(x: Float[Array, "*B C"], kernel: Float[Array, "C F"]) -> Float[Array, "*B F"]:
    """x @ kernel. For its gradient all pixels become one axis: XLA's CPU backend sums over three a fifth as fast."""
    return x @ kernel


def _pointwise_backward(kept, gradient):
    x, kernel = kept
    return gradient @ kernel.T, x.reshape(-1, x.shape[-1]).T @ gradient.reshape(-1, gradient.shape[-1])


pointwise.defvjp(lambda x, kernel: (pointwise(x, kernel), (x, kernel)), _pointwise_backward)


class LayerNorm(nn.Module):
    """Normalises over the channels of each pixel, in float32, then scales and shifts."""

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*B C"]) -> Float[Array, "*B C"]:
        scale = self.param("scale", nn.with_logical_partitioning(nn.initializers.ones, ("norm",)), x.shape[-1:])
        bias = self.param("bias", nn.with_logical_partitioning(nn.initializers.zeros, ("norm",)), x.shape[-1:])
        x = x.astype(jnp.float32)
        centred = x - x.mean(-1, keepdims=True)
        x = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6)
        return (x * scale + bias).astype(self.dtype)


class Pointwise(nn.Module):
    """A 1x1 convolution, as a matrix product (faster than a convolution on every backend we measured)."""

    features: int
    init: Callable = scaled_init()
    use_bias: bool = True
    axes: tuple[str, str] = ("in", "out")
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*B C"]) -> Float[Array, "*B F"]:
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", nn.with_logical_partitioning(self.init, self.axes), shape)
        y = checkpoint_name(pointwise(x.astype(self.dtype), kernel.astype(self.dtype)), "pointwise")
        if self.use_bias:
            zeros = nn.with_logical_partitioning(nn.initializers.zeros, (self.axes[1],))
            y = y + self.param("bias", zeros, shape[1:]).astype(self.dtype)
        return y


class Conv3x3(nn.Module):
    """A dense 3x3 convolution with zero border."""

    features: int
    init: Callable = scaled_init()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], mask: Mask = None) -> Float[Array, "B H W F"]:
        shape = (3, 3, x.shape[-1], self.features)
        axes = (None, None, "in", "out")
        kernel = self.param("kernel", nn.with_logical_partitioning(self.init, axes), shape)
        bias = self.param("bias", nn.with_logical_partitioning(nn.initializers.zeros, ("out",)), shape[-1:])
        x = masked(x, mask).astype(self.dtype)
        dimensions = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, kernel.astype(self.dtype), (1, 1), "SAME", dimension_numbers=dimensions)
        return y + bias.astype(self.dtype)


class SeparableConv3x3(nn.Module):
    """Depthwise 3x3, then 1x1: the lite form of `Conv3x3`."""

    features: int
    init: Callable = scaled_init()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], mask: Mask = None) -> Float[Array, "B H W F"]:
        x = Depthwise3x3(dtype=self.dtype, name="depthwise")(x, mask)
        return Pointwise(self.features, init=self.init, dtype=self.dtype, name="pointwise")(x)


class Depthwise3x3(nn.Module):
    """A depthwise 3x3 convolution with zero border; starts near the identity."""

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], mask: Mask = None) -> Float[Array, "B H W C"]:
        def init(key, shape, dtype=jnp.float32):
            return jax.random.normal(key, shape, dtype) / 3

        axes = (None, None, "norm")
        kernel = self.param("kernel", nn.with_logical_partitioning(init, axes), (3, 3, x.shape[-1]))
        return depthwise3x3(masked(x, mask).astype(self.dtype), kernel.astype(self.dtype))


def channel_weights(
    product: Float[Array, "B h c d"],
    squared_q: Float[Array, "B h c"],
    squared_k: Float[Array, "B h d"],
    temperature: Float[Array, "h"],
) -> Float[Array, "B h c d"]:
    """Softmax of the cosines between channels of q and of k, from their inner products over the pixels."""
    # rounding can leave a square just below zero
    norms = jnp.sqrt(jnp.maximum(squared_q, 1e-6))[..., :, None] * jnp.sqrt(jnp.maximum(squared_k, 1e-6))[..., None, :]
    return jax.nn.softmax(product / norms * temperature[:, None, None], axis=-1)


class ChannelAttention(nn.Module):
    """MDTA: attention across channels, q and k L2-normalised over the pixels (Restormer, eq. 1)."""

    heads: int
    scale: float = 1.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], mask: Mask = None) -> Float[Array, "B H W C"]:
        channels = x.shape[-1]
        dense = dict(use_bias=False, dtype=self.dtype)
        ones = nn.with_logical_partitioning(nn.initializers.ones, ("heads",))
        temperature = self.param("temperature", ones, (self.heads,))
        qkv = Pointwise(3 * channels, axes=("in", "wide"), name="qkv", **dense)(x)
        qkv = Depthwise3x3(dtype=self.dtype, name="depthwise")(qkv, mask)
        query, key, value = jnp.split(qkv, 3, -1)
        share_q, share_k = shared(query, mask), shared(key, mask)
        query, key, value, share_q, share_k = (
            a.reshape(x.shape[0], -1, self.heads, channels // self.heads) for a in (query, key, value, share_q, share_k)
        )
        wide = dict(preferred_element_type=jnp.float32)
        product = jnp.einsum("bnhc,bnhd->bhcd", share_q, key, **wide)
        squared_q = jnp.einsum("bnhc,bnhc->bhc", share_q, query, **wide)
        squared_k = jnp.einsum("bnhc,bnhc->bhc", share_k, key, **wide)
        sums = image_wide(self, "sums", (product, squared_q, squared_k))
        weights = channel_weights(*sums, temperature).astype(self.dtype)
        out = jnp.einsum("bhcd,bnhd->bnhc", weights, value).reshape(x.shape)
        return Pointwise(channels, init=scaled_init(self.scale), axes=("wide", "out"), name="out", **dense)(out)


class GramAttention(nn.Module):
    """Channel attention without a spatial operation between its 1x1s, computed from Gram matrices.

    With q = x Wq, k = c Wk, v = c Wv the products over pixels are q'k = Wq' (x'c) Wk, and the output
    softmax(.) v Wo is c times one C x C matrix. The result is that of MDTA without its depthwise convolution,
    for half the operations and without storing q, k and v: the lite block's attention, and the fuser's
    cross-attention, where `context` c is the other image (self-attention: c = x).
    """

    heads: int
    scale: float = 1.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], context: Float[Array, "B H W C"] | None = None, mask: Mask = None
    ) -> Float[Array, "B H W C"]:
        channels, heads = x.shape[-1], self.heads
        shape = (channels, heads, channels // heads)

        def weight(name, init, axes, shape=shape):
            return self.param(name, nn.with_logical_partitioning(init, axes), shape)

        def fan_in_init(key, shape, dtype=jnp.float32):
            return jax.random.normal(key, shape, dtype) / channels**0.5

        query, key, value = (weight(n, fan_in_init, ("in", "heads", None)) for n in ("query", "key", "value"))
        out = weight("out", lambda *a: self.scale * fan_in_init(*a), ("heads", None, "out"), (*shape[1:], channels))
        temperature = weight("temperature", nn.initializers.ones, ("heads",), (heads,))

        def pixels(a):
            return a.reshape(a.shape[0], -1, channels)

        def gram(a, b):
            return jnp.einsum("bnc,bnd->bcd", pixels(a), pixels(b), preferred_element_type=jnp.float32)

        x = x.astype(self.dtype)
        c = x if context is None else context.astype(self.dtype)
        xx = gram(shared(x, mask), x)
        xc, cc = (xx, xx) if context is None else (gram(shared(x, mask), c), gram(shared(c, mask), c))
        product = jnp.einsum("chq,bcd,dhk->bhqk", query, xc, key)
        squared_q = jnp.einsum("chq,bcd,dhq->bhq", query, xx, query)
        squared_k = jnp.einsum("chk,bcd,dhk->bhk", key, cc, key)
        sums = image_wide(self, "sums", (product, squared_q, squared_k))
        weights = channel_weights(*sums, temperature)
        matrix = jnp.einsum("chv,bhqv,hqo->bco", value, weights, out).astype(self.dtype)
        return jnp.einsum("bnc,bco->bno", pixels(c), matrix).reshape(c.shape)


class GatedFeedForward(nn.Module):
    """GDFN (Restormer): 1x1 -> depthwise 3x3 -> gelu(x1) * x2 -> 1x1. Lite: depthwise first, gate without gelu."""

    expansion: float
    lite: bool = False
    scale: float = 1.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], mask: Mask = None) -> Float[Array, "B H W C"]:
        channels = x.shape[-1]
        hidden = int(channels * self.expansion)
        dense = dict(use_bias=False, dtype=self.dtype)
        if self.lite:
            x = Depthwise3x3(dtype=self.dtype, name="depthwise")(x, mask)
        x = Pointwise(2 * hidden, axes=("in", "wide"), name="expand", **dense)(x)
        if not self.lite:
            x = Depthwise3x3(dtype=self.dtype, name="depthwise")(x, mask)
        gate, value = jnp.split(x, 2, -1)
        x = (gate if self.lite else nn.gelu(gate)) * value
        return Pointwise(channels, init=scaled_init(self.scale), axes=("wide", "out"), name="project", **dense)(x)


class TransformerBlock(nn.Module):
    """x += MDTA(LN x), x += GDFN(LN x) as in Restormer; without the attention where `heads` is 0.

    Both branches start `scale` times as large as usual.
    """

    heads: int
    expansion: float
    lite: bool = False
    scale: float = 1.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], mask: Mask = None) -> Float[Array, "B H W C"]:
        if self.heads:
            normed = LayerNorm(self.dtype, name="attention_norm")(x)
            if self.lite:
                normed = Depthwise3x3(dtype=self.dtype, name="attention_depthwise")(normed, mask)
                x = x + GramAttention(self.heads, self.scale, self.dtype, name="attention")(normed, mask=mask)
            else:
                x = x + ChannelAttention(self.heads, self.scale, self.dtype, name="attention")(normed, mask)
        normed = LayerNorm(self.dtype, name="feed_forward_norm")(x)
        x = x + GatedFeedForward(self.expansion, self.lite, self.scale, self.dtype, name="feed_forward")(normed, mask)
        return nn.with_logical_constraint(x, ("batch", "height", "width", "channels"))


class ResidualBlock(nn.Module):
    """x + Conv(gelu(Conv(LN x))); the branch starts at `BRANCH_SCALE`. Lite: separable convolutions."""

    lite: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], mask: Mask = None) -> Float[Array, "B H W C"]:
        conv, channels = SeparableConv3x3 if self.lite else Conv3x3, x.shape[-1]
        y = LayerNorm(self.dtype, name="norm")(x)
        y = nn.gelu(conv(channels, dtype=self.dtype, name="first")(y, mask))
        x = x + conv(channels, init=scaled_init(BRANCH_SCALE), dtype=self.dtype, name="second")(y, mask)
        return nn.with_logical_constraint(x, ("batch", "height", "width", "channels"))
