"""Where the text acts: the maps of Text-Guided Attention on the encoder's way up, of one image."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from lure_jax.inference.passes import Network
from lure_jax.text.conditions import CONDITIONS
from lure_jax.text.prompts import PROMPT_CONDITIONS
from lure_jax.text.source import Text


class Level(NamedTuple):
    """What the text does at one resolution.

    Attributes:
      stride: pixels of the image a pixel of the maps.
      attention: (P,K,h,w), of each prompt's K tokens, the share of the attention that each pixel pays to them, averaged
        over the heads; all of a pixel's sum to 1.
      gamma: (h,w), how much the features are amplified or damped: the mean of |gamma| over the channels.
      beta: (h,w), how much is added to them: the mean of |beta| over the channels.
    """

    stride: int
    attention: Float[np.ndarray, "P K h w"]
    gamma: Float[np.ndarray, "h w"]
    beta: Float[np.ndarray, "h w"]


class Explanation(NamedTuple):
    """What was read of one image's prompt, and what it does where.

    Attributes:
      prompts: P conditions in words ("low light"), or "the sentence" of a model that reads sentences as they are.
      levels: from the coarsest resolution, where the text enters first, to the finest.
    """

    prompts: tuple[str, ...]
    levels: tuple[Level, ...]

    @property
    def words(self) -> str:
        """What was read, in one line."""
        return " and ".join(self.prompts)


def explain(
    network: Network,
    image: Float[Array, "1 H W C"],
    modality: str,
    prompt: Int[Array, "1 S"] | Text,
    mask: Float[Array, "1 H W"],
    size: tuple[int, int],
) -> Explanation:
    """Runs a LURE encoder and keeps its maps.

    Args:
      network: the model.
      image: in [0,1], padded to the network's multiple.
      modality: "visible" or "infrared".
      prompt: of the image; AUTO is answered.
      mask: 0 on padding.
      size: height and width without padding.
    """
    prompt, present, maps = network.maps(image, modality, prompt, mask)
    present = np.asarray(present[0])
    ids = [0] if isinstance(prompt, Text) else np.asarray(prompt[0])
    used = [slot for slot, index in enumerate(ids) if index >= 0]
    tokens = np.flatnonzero(present.reshape(len(ids), -1)[used].any(0))  # of the longest prompt
    levels = []
    for weights, affine in _tga(maps):
        height, width = affine.shape[1:3]
        stride = image.shape[1] // height
        inside = slice(-(-size[0] // stride)), slice(-(-size[1] // stride))
        share = np.asarray(weights[0]).mean(1).reshape(height, width, len(ids), -1).transpose(2, 3, 0, 1)
        strength = np.abs(np.asarray(affine[0], np.float32)).reshape(height, width, 2, -1).mean(-1)
        levels.append(Level(stride, share[used][:, tokens][..., *inside], *strength[inside].transpose(2, 0, 1)))
    if isinstance(prompt, Text):
        names = ("the sentence",)
    else:
        names = tuple(CONDITIONS[PROMPT_CONDITIONS[ids[slot]]].name.replace("_", " ") for slot in used)
    return Explanation(names, tuple(sorted(levels, key=lambda level: -level.stride)))


def _tga(maps) -> list[tuple[Array, Array]]:
    """The attention and the modulation of every place where text enters."""
    places: dict[str, dict[str, Array]] = {}
    for path, value in jax.tree_util.tree_leaves_with_path(maps):
        *module, name, _ = (str(key) for key in path)
        places.setdefault("/".join(module), {})[name.strip("[]'")] = value
    return [(place["weights"], place["affine"]) for place in places.values()]
