"""LURE's network: a text-guided encoder into one latent space, a decoder that reads it alone, a fuser in between."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lure_jax.metrics.color import luma
from lure_jax.models.blocks import (
    BRANCH_SCALE,
    Conv3x3,
    Dtype,
    Pointwise,
    TransformerBlock,
    identity_init,
    image_wide,
    rematerialised,
    scaled_init,
    shuffle,
    unshuffle,
)
from lure_jax.models.fuser import Fuser
from lure_jax.models.levelling import Levelling
from lure_jax.models.masks import Mask, coarser, finer, masked, masked_mean
from lure_jax.models.refining import NAMED, Refining
from lure_jax.models.scene_statistics import scene_statistics
from lure_jax.models.sharpening import Sharpening
from lure_jax.models.shrinkage import Shrinking
from lure_jax.models.sizes import Sizes
from lure_jax.models.stripes import stripe_offsets
from lure_jax.models.tga import InnerResidualBlock
from lure_jax.models.tone import Tone, Toning, measure_tone
from lure_jax.models.veil import Lifting
from lure_jax.text.asked import BEFORE, REFINING, asks_for, naming
from lure_jax.text.clip_prompts import PromptTokens
from lure_jax.text.conditions import CONDITIONS
from lure_jax.text.source import Text, text_source


class FusionOutput(NamedTuple):
    """What every fusion model returns: the fused image (B,H,W,3) in [0,1] and a pyramid of fused feature maps."""

    image: Float[Array, "B H W 3"]
    features: tuple[Float[Array, "B h w c"], ...]


class Described(NamedTuple):
    """An image on its way down the encoder, before any text: what the condition head and the way up read."""

    stem: Float[Array, "B h w C"]
    skips: tuple[Float[Array, "B h w c"], ...]
    bottom: Float[Array, "B h w c"]
    tone: Tone
    statistics: Float[Array, "B N"]
    logits: Float[Array, "B 13"]


class Latent(NamedTuple):
    """A point of the unified latent space, and the maps of the way up at strides 2s, 4s, ... (finest first)."""

    z: Float[Array, "B h w Z"]
    features: tuple[Float[Array, "B h w c"], ...]


def pixel_moments(x: Float[Array, "B H W C"], mask: Mask) -> Float[Array, "B 2 C"]:
    """Mean and variance of each channel over the image: what noise, haze and darkness change."""
    mean = masked_mean(x, mask)
    variance = masked_mean(jnp.square(x.astype(jnp.float32) - mean[:, None, None]), mask)
    return jnp.stack([mean, variance], 1)


def log_deviations(moments: Float[Array, "B 2 C"]) -> Float[Array, "B 2C"]:
    """The means, then the logarithms of the standard deviations."""
    return jnp.concatenate([moments[:, 0], 0.5 * jnp.log(moments[:, 1] + 1e-6)], -1)


ENCODER_PARTS = tuple(part for part in BEFORE if part not in REFINING)  # parts that every preset has


class ConditionHead(nn.Module):
    """What is wrong with an image, from statistics of its pixels and of the features on the way down.

    Attributes:
      width: of both hidden layers.
      dropout: the share of them that is left out; while it is fitted alone.
    """

    width: int = 256
    dropout: float = 0.0

    @nn.compact
    def __call__(self, statistics: Float[Array, "B N"]) -> Float[Array, "B 13"]:
        x = statistics
        for name, axes in (("first", ("in", "wide")), ("second", ("wide", "out"))):
            x = nn.gelu(Pointwise(self.width, axes=axes, name=name)(x))
            x = nn.Dropout(self.dropout, deterministic=not self.dropout)(x)
        return Pointwise(len(CONDITIONS), axes=("in", "condition"), name="answer")(x)


class Encoder(nn.Module):
    """E(x, T) -> z, one encoder for both modalities; text enters at the bottleneck and on the way up only."""

    sizes: Sizes
    dtype: Dtype = jnp.float32
    remat: str = "none"

    def setup(self):
        sizes, levels = self.sizes, range(len(self.sizes.widths))
        pixels = 3 * sizes.stem**2
        block = rematerialised(InnerResidualBlock, self.remat)

        def blocks(level):
            options = sizes.expansion, sizes.lite, self.dtype, sizes.per_pixel
            return block(sizes.blocks[level], sizes.heads_at(level), *options)

        def dense(features, **options):
            return Pointwise(features, dtype=self.dtype, **options)

        self.stem = Conv3x3(sizes.widths[0], init=identity_init(pixels), dtype=self.dtype)
        self.down = [blocks(i) for i in levels[:-1]]
        self.shrink = [dense(sizes.widths[i + 1]) for i in levels[:-1]]
        self.bottom = blocks(levels[-1])
        self.grow = [dense(4 * sizes.widths[i]) for i in levels[:-1]]
        self.merge = [dense(sizes.widths[i]) for i in levels[:-1]]
        self.up = [blocks(i) for i in levels[:-1]]
        self.toning = rematerialised(Toning, self.remat)(sizes.latent, dtype=self.dtype)
        self.levelling = Levelling()
        self.sharpening = Sharpening()
        self.shrinking = rematerialised(Shrinking, self.remat)(dtype=self.dtype)
        self.lifting = rematerialised(Lifting, self.remat)(dtype=self.dtype)
        if sizes.inner_residual:
            self.residual = dense(sizes.latent, init=identity_init(pixels))
        self.latent = dense(sizes.latent, init=scaled_init(0.2 * BRANCH_SCALE if sizes.inner_residual else 1.0))
        self.condition = ConditionHead()

    def repair(self, image: Float[Array, "B H W 3"], text: Text, mask: Mask = None) -> Float[Array, "B H W 3"]:
        """The image without stripes, blur, noise and haze, if `text` asks for it."""
        wide = finer(mask, self.sizes.stem)
        for part in ENCODER_PARTS:
            image = where_asked(self, text, part, image, lambda e, x, part=part: getattr(e, part)(x, wide))
        return jnp.clip(image, 0, 1)

    def describe(self, image: Float[Array, "B H W 3"], mask: Mask = None) -> Described:
        """The way down, which reads no text, and the condition head's logits (B,13)."""
        wide = finer(mask, self.sizes.stem)
        stripes = stripe_offsets(luma(image), wide, self.sizes.stem)
        pixels = jnp.concatenate([unshuffle(image, self.sizes.stem), stripes], -1)
        x = stem = self.stem(pixels.astype(self.dtype), mask)
        skips = []
        for level, (block, shrink) in enumerate(zip(self.down, self.shrink, strict=True)):
            x = block(x, None, coarser(mask, 2**level))
            skips.append(x)
            x = shrink(unshuffle(masked(x, coarser(mask, 2**level)), 2))
        moments = [pixel_moments(f, coarser(mask, 2**level)) for level, f in enumerate((*skips, x))]
        moments = [image_wide(self, f"moments_{level}", m) for level, m in enumerate(moments)]
        scene = image_wide(self, "scene", scene_statistics(image, wide))
        statistics = jnp.concatenate([*(log_deviations(m) for m in moments), scene], -1)
        tone = measure_tone(self, image, wide, self.sizes.stem)
        return Described(stem, tuple(skips), x, tone, statistics, self.condition(statistics))

    def lift(self, described: Described, text: Text, mask: Mask = None) -> Latent:
        """The way up under the guidance of `text`, and the inner residual z = U(e0,T) + Conv1x1(e0)."""
        x = self.bottom(described.bottom, text, coarser(mask, 2 ** len(self.up)))
        features = [x]
        for level in reversed(range(len(self.up))):
            x = shuffle(self.grow[level](x), 2)
            x = self.merge[level](jnp.concatenate([x, described.skips[level]], -1))
            x = self.up[level](x, text, coarser(mask, 2**level))
            features.append(x)
        z = where_asked(self, text, "toning", self.latent(x), lambda e, _: e.toning(x, described.tone, mask))
        if self.sizes.inner_residual:
            z += self.residual(described.stem)
        return Latent(z.astype(jnp.float32), tuple(reversed(features[:-1])))


def where_asked(
    module: nn.Module, text: Text, part: str, x: Array, added: Callable[[nn.Module, Array], Array]
) -> Array:
    """x and what a part adds to it, where `text` asks for it; not computed where no prompt of the batch asks."""
    asked = asks_for(text.asked, part)[:, None, None, None]
    if isinstance(asked, np.ndarray) and not asked.any() and not module.is_initializing():
        return x

    def both(module):
        return x + asked.astype(x.dtype) * added(module, x)

    return both(module) if module.is_initializing() else nn.cond(asked.any(), both, lambda _: x, module)


class Decoder(nn.Module):
    """D(z) -> image: transformer blocks and one convolution; it reads the latent alone, no skip from the encoder."""

    sizes: Sizes
    dtype: Dtype = jnp.float32
    remat: str = "none"

    @nn.compact
    def __call__(self, z: Float[Array, "B h w Z"], mask: Mask = None) -> Float[Array, "B H W 3"]:
        sizes, pixels = self.sizes, 3 * self.sizes.stem**2
        x = z.astype(self.dtype)
        for i in range(sizes.decoder_blocks):
            block = rematerialised(TransformerBlock, self.remat)(
                sizes.heads_at(0), sizes.expansion, sizes.lite, BRANCH_SCALE, self.dtype, name=f"block_{i}"
            )
            x = block(x, mask)
        x = Conv3x3(pixels, init=identity_init(pixels), dtype=self.dtype, name="conv")(x, mask)
        return shuffle(x, sizes.stem).astype(jnp.float32)


class Lure(nn.Module):
    """LURE (arXiv 2503.07033; reconstruction): restores each image into one latent space and fuses there.

    Attributes:
      sizes: the preset's numbers.
      text_source: name of the text source.
      dtype: of the computation; parameters, latents and images stay float32.
      remat: what the blocks of encoder and decoder keep for the backward pass (`blocks.rematerialised`).
      prompts: the encoded prompts of the text source "clip".
    """

    sizes: Sizes
    text_source: str = "table"
    dtype: Dtype = jnp.float32
    remat: str = "none"
    prompts: PromptTokens | None = None

    @property
    def text_identity(self) -> str:
        """What the parameters were trained to read: the text source's name, and which CLIP."""
        return self.text_source if self.prompts is None else f"{self.text_source} {self.prompts.tower[:12]}"

    @property
    def trains_text(self) -> bool:
        """Whether the text source has parameters."""
        if self.prompts is None:
            return self.text_source != "one_hot"
        return self.prompts.tokens.shape[-1] != self.sizes.text

    @property
    def repairs(self) -> tuple[str, ...]:
        """The parts that repair an image before its way down."""
        return BEFORE if self.sizes.refining else ENCODER_PARTS

    def setup(self):
        self.text = text_source(self.text_source, self.sizes.text, self.prompts)
        self.encoder = Encoder(self.sizes, self.dtype, self.remat)
        self.decoder = Decoder(self.sizes, self.dtype, self.remat)
        self.fuser = Fuser(self.sizes, self.dtype)
        if self.sizes.refining:
            refining = rematerialised(Refining, self.remat)
            self.denoising, self.deweathering = (refining(widths, self.dtype) for widths in self.sizes.refining)

    def __call__(
        self,
        visible: Float[Array, "B H W 3"],
        infrared: Float[Array, "B H W 1"],
        visible_text: Text,
        infrared_text: Text,
        pixel_mask: Float[Array, "B H W"] | None = None,
    ) -> FusionOutput:
        """Fuses two registered images of any size.

        Args:
          visible: (B,H,W,3) in [0,1].
          infrared: (B,H,W,1) in [0,1].
          visible_text: what is wrong with the visible image, as tokens.
          infrared_text: the same of the infrared image.
          pixel_mask: (B,H,W), 1 on the image and 0 on padding; the image's sides must then be multiples of
            `sizes.multiple`.

        Returns:
          FusionOutput with the image (B,H,W,3), clipped to [0,1], and the fused feature pyramid.
        """
        latent_v = self.encode(visible, visible_text, pixel_mask)
        latent_i = self.encode(infrared, infrared_text, pixel_mask)
        z, w = self.fuse(latent_v, latent_i, pixel_mask)
        image = self.decode(z, pixel_mask)[:, : visible.shape[1], : visible.shape[2]]
        return FusionOutput(jnp.clip(image, 0, 1), mix_features(latent_v, latent_i, w))

    def tokens(self, prompt_ids: Int[Array, "B P"]) -> Text:
        """Prompt ids, -1 = none, to tokens."""
        return self.text(prompt_ids)

    def read(self, encoded: Text) -> Text:
        """CLIP's tokens of free sentences, to tokens; of a model whose text source is "clip"."""
        return self.text.read(encoded)

    def repair(
        self, image: Float[Array, "B H W C"], text: Text, pixel_mask: Float[Array, "B H W"] | None = None
    ) -> Float[Array, "B h w 3"]:
        """The image less what the text names of stripes, blur, noise, haze, rain and snow (see `repairs`); padded."""
        image, mask = self._padded(image), self._mask(pixel_mask)
        repaired = self.encoder.repair(image, text, mask)
        if not self.sizes.refining:
            return repaired
        named, wide = naming(text.asked, *NAMED), finer(mask, self.sizes.stem)
        for part in REFINING:
            run = lambda m, x, part=part: getattr(m, part)(x, image, named, wide)  # noqa: E731
            repaired = jnp.clip(where_asked(self, text, part, repaired, run), 0, 1)
        return repaired

    def describe(self, image: Float[Array, "B H W C"], pixel_mask: Float[Array, "B H W"] | None = None) -> Described:
        """The encoder's way down; `logits` (B,13) are the condition head's, "clean" columns without meaning."""
        return self.encoder.describe(self._padded(image), self._mask(pixel_mask))

    def lift(self, described: Described, text: Text, pixel_mask: Float[Array, "B H W"] | None = None) -> Latent:
        """The encoder's way up."""
        return self.encoder.lift(described, text, self._mask(pixel_mask))

    def encode(
        self, image: Float[Array, "B H W C"], text: Text, pixel_mask: Float[Array, "B H W"] | None = None
    ) -> Latent:
        """E(x, T): `repair`, `describe`, then `lift`."""
        return self.lift(self.describe(self.repair(image, text, pixel_mask), pixel_mask), text, pixel_mask)

    def encode_described(
        self, image: Float[Array, "B H W C"], described: Described, text: Text
    ) -> tuple[Latent, Float[Array, "B h w 3"]]:
        """E(x, T) of an image that was described before, and the image after `repair`; only then it goes down again."""
        image = self._padded(image)

        def again(model):
            repaired = model.repair(image, text)
            return repaired, model.describe(repaired)

        repaired, described = nn.cond(
            asks_for(text.asked, *self.repairs).any(), again, lambda _: (image, described), self
        )
        return self.lift(described, text), repaired

    def decode(
        self, z: Float[Array, "B h w Z"], pixel_mask: Float[Array, "B H W"] | None = None
    ) -> Float[Array, "B H W 3"]:
        """D(z), not clipped; its sides are multiples of `sizes.multiple`: crop to the image's size."""
        return self.decoder(z, self._mask(pixel_mask))

    def fuse(self, latent_v: Latent, latent_i: Latent, pixel_mask: Float[Array, "B H W"] | None = None):
        """F_u: the fused latent (B,h,w,Z) and the choice w (B,h,w,Z)."""
        return self.fuser(latent_v.z, latent_i.z, self._mask(pixel_mask))

    def restore(self, image: Float[Array, "B H W C"], text: Text, pixel_mask=None) -> Float[Array, "B H W 3"]:
        """D(E(x, T)) of the image's own size, not clipped."""
        restored = self.decode(self.encode(image, text, pixel_mask).z, pixel_mask)
        return restored[:, : image.shape[1], : image.shape[2]]

    def initialise(self, visible, infrared, visible_ids, infrared_ids) -> FusionOutput:
        """Touches every parameter: call it with `init`."""
        return self(visible, infrared, self.tokens(visible_ids), self.tokens(infrared_ids))

    def _padded(self, image: Float[Array, "B H W C"]) -> Float[Array, "B h w 3"]:
        return pad_to_multiple(jnp.broadcast_to(image, (*image.shape[:3], 3)), self.sizes.multiple)

    def _mask(self, pixel_mask) -> Mask:
        stride = self.sizes.stem
        return None if pixel_mask is None else pixel_mask[:, ::stride, ::stride, None].astype(jnp.float32)


def pad_to_multiple(image: Float[Array, "B H W C"], multiple: int) -> Float[Array, "B H W C"]:
    """Repeats the last row and column until both sides are multiples of `multiple`."""
    bottom, right = (-image.shape[1]) % multiple, (-image.shape[2]) % multiple
    return jnp.pad(image, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge") if bottom or right else image


def mix_features(latent_v: Latent, latent_i: Latent, w: Float[Array, "B h w Z"]) -> tuple[Array, ...]:
    """The fused feature pyramid: both images' maps mixed by the mean choice w, pooled to each level's stride."""
    choice, mixed = w.mean(-1, keepdims=True), []
    for visible, infrared in zip(latent_v.features, latent_i.features, strict=True):
        factor = choice.shape[1] // visible.shape[1]
        pooled = nn.avg_pool(choice, (factor, factor), (factor, factor))
        mixed.append(pooled * visible + (1 - pooled) * infrared)
    return tuple(mixed)
