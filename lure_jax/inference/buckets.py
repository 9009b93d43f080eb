"""Image sizes to few padded shapes, so that a folder of mixed sizes costs few compilations."""

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

LIMIT = 6  # shapes of a folder, each compiled once
_EXACT = 64  # sizes that are merged pair by pair; more are first rounded, to keep planning under a second

Size = tuple[int, int]  # height, width


def round_up(size: Size, multiple: int) -> Size:
    """The shape for an image on its own: sides that are a multiple of an eighth to a sixteenth of themselves.

    At most eight shapes an octave and side; 640x480, 1024x768, 1280x1024 are not padded at all.
    """
    return tuple(_ceil(side, max(multiple, 2 ** (side.bit_length() - 1) // 8)) for side in size)


def plan(sizes: Iterable[Size], multiple: int) -> tuple[Size, ...]:
    """At most `LIMIT` shapes that hold all sizes, with little padding.

    Greedy: of all shapes, the two whose merging adds the fewest padded pixels become one, until few enough are left.

    Args:
      sizes: (height, width) of each image, with repetition.
      multiple: what the sides of a shape must be multiples of.

    Returns:
      Shapes, smallest area first. Images that all have one size get that size, rounded up to the multiple.
    """
    counts = Counter(tuple(_ceil(side, multiple) for side in size) for size in sizes)
    if len(counts) > _EXACT:
        counts = _merged_counts((round_up(shape, multiple), n) for shape, n in counts.items())
    while len(counts) > LIMIT:
        shapes = np.array(list(counts), np.int64)
        weights = np.array(list(counts.values()), np.int64)
        joined = np.maximum(shapes[:, None], shapes[None]).prod(-1)
        areas = shapes.prod(-1)
        added = (joined - areas[:, None]) * weights[:, None] + (joined - areas[None]) * weights[None]
        added[np.tril_indices(len(shapes))] = np.iinfo(np.int64).max
        one, other = np.unravel_index(added.argmin(), added.shape)
        both = tuple(np.maximum(shapes[one], shapes[other]).tolist())
        gone = {tuple(shapes[one].tolist()), tuple(shapes[other].tolist())}
        counts = _merged_counts((both if shape in gone else shape, n) for shape, n in counts.items())
    return tuple(sorted(counts, key=math.prod))


def choose(size: Size, shapes: tuple[Size, ...], multiple: int) -> Size:
    """The first of the planned shapes that holds an image, or `round_up`'s where none does."""
    fitting = (shape for shape in shapes if shape[0] >= size[0] and shape[1] >= size[1])
    return next(fitting, None) or round_up(size, multiple)


def pad(image: Float[np.ndarray, "B H W C"], shape: Size, multiple: int) -> Float[np.ndarray, "B h w C"]:
    """Repeats the border up to the network's multiple, as the network itself does, and adds zeros up to `shape`."""
    height, width = image.shape[1:3]
    inner = (_ceil(height, multiple), _ceil(width, multiple))
    if inner != (height, width):
        image = np.pad(image, ((0, 0), (0, inner[0] - height), (0, inner[1] - width), (0, 0)), mode="edge")
    if inner != shape:
        image = np.pad(image, ((0, 0), (0, shape[0] - inner[0]), (0, shape[1] - inner[1]), (0, 0)))
    return image


def pixel_mask(batch: int, size: Size, shape: Size, multiple: int) -> Float[np.ndarray, "B h w"]:
    """1 on the image, its repeated border included, and 0 on the zeros of `pad`."""
    mask = np.zeros((batch, *shape), np.float32)
    mask[:, : _ceil(size[0], multiple), : _ceil(size[1], multiple)] = 1
    return mask


def _ceil(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def _merged_counts(pairs: Iterable[tuple[Size, int]]) -> Counter:
    counts = Counter()
    for shape, n in pairs:
        counts[shape] += n
    return counts
