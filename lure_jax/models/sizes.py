"""The numbers of LURE's presets."""

from typing import NamedTuple

POOL = 4  # latents of a pixel of the fuser's surroundings, along each side


class Sizes(NamedTuple):
    """A preset: strides, widths and depths of the three parts (method: table of A2)."""

    stem: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    heads: tuple[int, ...]
    latent: int
    decoder_blocks: int
    fuser_blocks: int
    text: int
    expansion: float = 2.66
    lite: bool = False
    per_pixel: bool = True  # text acts by TGA; else on whole channels
    inner_residual: bool = True
    refining: tuple[tuple[int, ...], ...] = ()  # channels, at strides 2, 4, ..., of each part of `asked.REFINING`
    surroundings: int = 0  # channels in which the fuser sees around a pixel; 0: it does not

    @property
    def multiple(self) -> int:
        """Image sides are padded to multiples of this many pixels."""
        return self.stem * max(2 ** (len(self.widths) - 1), POOL if self.surroundings else 1)

    @property
    def feature_widths(self) -> tuple[int, ...]:
        """Channels of the feature pyramid, finest map first."""
        return self.widths[1:]

    @property
    def feature_stride(self) -> int:
        """Pixels of the image a pixel of the finest feature map; each further map has twice as many."""
        return 2 * self.stem

    def heads_at(self, level: int) -> int:
        """Heads of a level's channel attention; the lite form has none at the stem's resolution."""
        return 0 if self.lite and level == 0 else self.heads[level]


PRESETS = {
    "tiny": Sizes(2, (16, 36, 80), (1, 1, 2), (1, 2, 4), 24, 1, 1, 64, 1.5, True, surroundings=40),
    "base": Sizes(1, (48, 96, 192, 384), (2, 2, 2, 2), (1, 2, 4, 8), 96, 4, 2, 512),
    "large": Sizes(1, (48, 96, 192, 384), (4, 6, 6, 8), (1, 2, 4, 8), 96, 4, 2, 512),
}
PRESETS["small"] = PRESETS["tiny"]._replace(refining=((72, 144), (48, 96)))
PRESETS |= {  # for comparison: configs/ablations.py
    "tiny_channel_affine": PRESETS["tiny"]._replace(per_pixel=False),
    "tiny_no_inner_residual": PRESETS["tiny"]._replace(inner_residual=False),
}
