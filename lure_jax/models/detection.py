"""Detection: an anchor-free network that judges fused images by the things it finds in them.

After CenterNet (Zhou et al., "Objects as Points", 2019, arXiv 1904.07850): a heat map of centres a class, and at
each centre the box's size and the centre's place within its cell.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lure_jax.models.blocks import Dtype
from lure_jax.models.segmentation import STRIDE, HeadSizes, PixelHead, logit_size

RARE = -4.6  # logit of a centre's prior probability of 0.01
FOUND = 100  # boxes an image at most


class CentreMaps(NamedTuple):
    """What the network says at stride 4: logits of a centre, log of the sides in pixels, place in the cell in [0,1]."""

    heat: Float[Array, "B h w K"]
    log_size: Float[Array, "B h w 2"]
    offset: Float[Array, "B h w 2"]


class Boxes(NamedTuple):
    """The boxes found in each image, the surest first: ymin, xmin, ymax, xmax in pixels; score in [0,1]; class."""

    box: Float[Array, "B N 4"]
    score: Float[Array, "B N"]
    label: Int[Array, "B N"]


class Detector(nn.Module):
    """A small detector, trained from scratch on fused images to judge them.

    Attributes:
      sizes: the preset's numbers.
      classes: K.
      dtype: of the computation; parameters and maps stay float32.
    """

    sizes: HeadSizes
    classes: int
    dtype: Dtype = jnp.float32

    text_identity = ""  # it reads none
    prompts = None

    def setup(self):
        self.network = PixelHead(self.sizes, self.classes + 4, self.dtype, batch_norm=False)

    def __call__(self, image: Float[Array, "B H W 3"]) -> CentreMaps:
        """The maps of an image in [0,1]."""
        height, width = logit_size(image)
        maps = self.network(image)[:, :height, :width]
        heat, size, offset = jnp.split(maps, [self.classes, self.classes + 2], -1)
        return CentreMaps(heat + RARE, size + jnp.log(8.0 * STRIDE), jax.nn.sigmoid(offset))

    def initialise(self, image, *_):
        """Touches every parameter: call it with `init`."""
        return self(image)


def find_boxes(maps: CentreMaps) -> Boxes:
    """The `FOUND` surest centres that are the highest of their 3x3 neighbourhood, as boxes."""
    score = jax.nn.sigmoid(maps.heat)
    highest = jax.lax.reduce_window(score, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
    batch, height, width, classes = score.shape
    score, index = jax.lax.top_k(jnp.where(score == highest, score, 0).reshape(batch, -1), min(FOUND, score[0].size))
    cell, label = index // classes, index % classes
    row, column = cell // width, cell % width

    def at(values):
        return jnp.take_along_axis(values.reshape(batch, height * width, 2), cell[..., None], 1)

    centre = STRIDE * (jnp.stack([row, column], -1) + at(maps.offset))
    half = jnp.exp(at(maps.log_size)) / 2
    return Boxes(jnp.concatenate([centre - half, centre + half], -1), score, label)
