"""Images too large for the memory: overlapping tiles, which share the statistics of the whole image."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from lure_jax.errors import UserError
from lure_jax.inference.buckets import Size
from lure_jax.inference.passes import Network, Statistics
from lure_jax.models.lure import Lure

MEMORY = "4GB"  # the budget unless told otherwise; on an accelerator, 3/4 of its memory
OVERLAP = 96  # pixels that neighbours share; the quarter next to a tile's own border is not shown
LEAST_SHARE = 1e-6  # of a pixel that a tile does not show, in what it measures: not 0, which is padding
SMALLEST = 320  # side of the square tile that must fit; smaller ones would overlap more than two at a time
# Bytes that fusing takes for each pixel at once: measured by benchmarks/tiles.py for lure tiny, for the others planned
# by the compiler for the largest pass, on the CPU. And what the process has without, compiling included.
BYTES_PER_PIXEL = {
    ("lure", "tiny"): 420,
    ("lure", "tiny_channel_affine"): 420,
    ("lure", "tiny_no_inner_residual"): 420,
    ("lure", "small"): 420,
    ("lure", "base"): 11000,
    ("lure", "large"): 11000,
    ("two_stream", "tiny"): 900,
    ("two_stream", "base"): 1600,
}
BASE_BYTES = 800_000_000
IMAGE_BYTES = 36  # for each pixel of a file's pair and their result while they are read, held and written; 8 bits deep
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

Rows, Columns = slice, slice
Units = Mapping[str, Float[np.ndarray, "1 h w C"]]  # of each modality, in [0,1]


class Plan(NamedTuple):
    """Tiles of one size; their first rows and columns are multiples of the network's multiple."""

    tile: Size
    tops: tuple[int, ...]
    lefts: tuple[int, ...]


def read_memory(memory: str | int) -> int:
    """Bytes of "2GB", "800 MB", "1.5GB" or a number of bytes; UserError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", str(memory).upper())
    unit = match and (match[2] if match[2] in _UNITS else match[2] + "B")
    if not match or unit not in _UNITS or float(match[1]) <= 0:
        raise UserError(f"The memory {memory!r} is no size; write it like 2GB or 900MB.")
    return int(float(match[1]) * _UNITS[unit])


def affordable_pixels(memory: str | int | None, name: str, preset: str) -> int:
    """Pixels that a model may work on at once within a budget.

    Args:
      memory: of the process (on an accelerator, of that), as `read_memory` takes it; None for the default.
      name: of the model.
      preset: of the model.

    Raises:
      UserError: it is no size, or too little for the smallest tile.
    """
    if memory is None:
        device = jax.devices()[0]
        memory = MEMORY if device.platform == "cpu" else 3 * device.memory_stats()["bytes_limit"] // 4
    each = BYTES_PER_PIXEL[name, preset]
    pixels = (read_memory(memory) - BASE_BYTES) // each
    if pixels < SMALLEST**2:
        least = (BASE_BYTES + SMALLEST**2 * each) / 1e6
        raise UserError(f"The memory {memory} is too little for {name} {preset}, which needs {least:.0f}MB.")
    return pixels


def beside_image(pixels: int, size: Size, name: str, preset: str) -> int:
    """Of `affordable_pixels`, those that can be worked on at once beside an image of (height, width) in memory."""
    held = IMAGE_BYTES * math.prod(size) // BYTES_PER_PIXEL[name, preset]
    return max(pixels - held, SMALLEST**2)


def plan(size: Size, pixels: int, multiple: int) -> Plan:
    """The fewest tiles of at most so many pixels that cover an image and overlap by `OVERLAP`.

    Args:
      size: (height, width) of the image.
      pixels: that a tile may have; at least `SMALLEST` squared.
      multiple: of the network.
    """
    grids = []
    for rows in range(1, size[0] // (SMALLEST - OVERLAP) + 2):
        for columns in range(1, size[1] // (SMALLEST - OVERLAP) + 2):
            tile = _side(size[0], rows, multiple), _side(size[1], columns, multiple)
            if math.prod(tile) <= pixels and all(t >= min(2 * OVERLAP, s) for t, s in zip(tile, size, strict=True)):
                grids.append((rows * columns, math.prod(tile), tile, rows, columns))
    _, _, tile, rows, columns = min(grids)
    return Plan(tile, _starts(size[0], tile[0], rows, multiple), _starts(size[1], tile[1], columns, multiple))


def places(plan: Plan, size: Size) -> Iterator[tuple[Rows, Columns, Float[np.ndarray, "h w"]]]:
    """Where the tiles lie in the image, row by row, and how much each of their pixels counts.

    In an overlap one tile fades into the next; the shares of all tiles add up to one in every pixel. The last tiles may
    be cut by the image's border.
    """
    down, across = (_shares(starts, side, full) for starts, side, full in zip(plan[1:], plan.tile, size, strict=True))
    for top, rows in zip(plan.tops, down, strict=True):
        for left, columns in zip(plan.lefts, across, strict=True):
            share = rows[:, None] * columns[None, :]
            yield slice(top, top + len(rows)), slice(left, left + len(columns)), share


def weigh(mask: Float[np.ndarray, "1 H W"], share: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "1 H W"]:
    """The pixel mask of a tile to be measured: pixels of which it shows nothing still belong to the image."""
    beyond = [(0, full - side) for full, side in zip(mask.shape[1:], share.shape, strict=True)]
    return mask * np.maximum(np.pad(share, beyond, mode="edge"), LEAST_SHARE)


def blend(
    plan: Plan, size: Size, compute: Callable[[Rows, Columns], Float[np.ndarray, "h w C"]]
) -> Iterator[tuple[Rows, Float[np.ndarray, "h W C"]]]:
    """Computes tile after tile and yields finished rows of the image, so that it never is in memory as floats."""
    band, place = None, places(plan, size)
    for r in range(len(plan.tops)):
        fresh = None
        for _ in plan.lefts:
            rows, columns, share = next(place)
            tile = compute(rows, columns) * share[..., None]
            if fresh is None:
                fresh = np.zeros((len(tile), size[1], tile.shape[-1]), np.float32)
            fresh[:, columns] += tile
        if band is not None:
            fresh[: len(band)] += band
        top, end = plan.tops[r], plan.tops[r + 1] if r + 1 < len(plan.tops) else size[0]
        yield slice(top, end), fresh[: end - top]
        band = fresh[end - top :]


def thin(image: np.ndarray, pixels: int) -> np.ndarray:
    """A copy with at most so many pixels, picked at equal distances: an average would remove the image's noise."""
    factor = min(1.0, (pixels / math.prod(image.shape[:2])) ** 0.5)
    picked = [np.arange(max(1, int(side * factor))) * side // max(1, int(side * factor)) for side in image.shape[:2]]
    return image[np.ix_(*picked)]


def statistics(
    network: Network,
    thinned: tuple[Units, Float[np.ndarray, "1 h w"]],
    tiles: Callable[[], Iterable[tuple[Units, Float[np.ndarray, "1 h w"]]]],
    prompts: Mapping[str, Any],
    strength: float = 1.0,
) -> Statistics:
    """What is summed over a large image: first from a thinned copy of it, then, with that at hand, from all tiles.

    The tiles are looked at twice. First for the condition head's moments: where a condition is nearly as probable as
    its threshold, only all pixels give the answer of the whole image, and all else depends on the answer. Then for the
    rest: each block's sums are taken with those of the thinned copy in the blocks below. (What a third look would still
    take is a fraction of a level: docs/experiments.md.)

    Args:
      network: the model.
      thinned: the whole image, thinned, and its pixel mask.
      tiles: gives the same of each tile, at full resolution, its mask weighed (`weigh`).
      prompts: as the network takes them.
      strength: likewise.

    Returns:
      As of a whole image; {} of a model that sums over nothing.
    """
    images, mask = thinned
    if not isinstance(network.model, Lure):
        return {}
    coarse = {m: network.describe(image, mask, measure=True)[1] for m, image in images.items()}
    parts, weights = {m: [] for m in images}, []
    for units, tile_mask in tiles():
        weights.append(float(tile_mask.sum()))
        for modality, image in units.items():
            parts[modality].append(network.describe(image, tile_mask, coarse[modality], measure=True)[1])
    down = {f"{m}/down": pool(those, weights) for m, those in parts.items()}
    _, coarse = network(images, prompts, mask, down, measure=True, strength=strength)
    parts = [
        network(units, prompts, tile_mask, coarse | down, measure=True, strength=strength)[1]
        for units, tile_mask in tiles()
    ]
    logits = {name: part for name, part in parts[0].items() if name.endswith("/logits")}  # the same in each tile
    known = logits.keys() | down.keys()
    return down | logits | pool([{name: part[name] for name in part.keys() - known} for part in parts], weights)


def pool(parts: list[Mapping[str, Any]], weights: list[float]) -> dict[str, Any]:
    """Statistics of parts to those of the whole: sums are added, means and variances by Var = E[v + m^2] - E[m]^2.

    Those of the scene are averaged, which is nearly right: their means of logarithms are exact, their logarithms of
    means are not. But for the last two, the least and the greatest luma: of these the extreme is taken. The airlight is
    a mean weighted by what beside it tells of it.

    Args:
      parts: Flax collections of one structure.
      weights: pixels of each.
    """
    pooled = {}
    for name, first in parts[0].items():
        those = [part[name] for part in parts]
        if name.startswith("moments"):
            pooled[name] = _pooled_moments(those, weights)
        elif name == "scene":
            scenes = np.stack(those)
            pooled[name] = np.average(scenes, 0, weights).astype(np.float32)
            pooled[name][..., -2], pooled[name][..., -1] = scenes[..., -2].min(0), scenes[..., -1].max(0)
        elif name == "airlight":
            lights = np.stack(those)
            mass = lights[..., 3:].sum(0)
            light = (lights[..., :3] * lights[..., 3:]).sum(0) / mass
            pooled[name] = np.concatenate([light, mass], -1).astype(np.float32)
        elif isinstance(first, Mapping):
            pooled[name] = pool(those, weights)
        else:
            pooled[name] = jax.tree.map(lambda *sums: sum(sums), *those)
    return pooled


def _pooled_moments(parts: list[Float[np.ndarray, "1 2 C"]], weights: list[float]) -> Float[np.ndarray, "1 2 C"]:
    share = np.asarray(weights, np.float64) / sum(weights)
    moments = np.stack([np.asarray(part, np.float64) for part in parts])
    mean = np.tensordot(share, moments[:, :, 0], 1)
    power = np.tensordot(share, moments[:, :, 1] + moments[:, :, 0] ** 2, 1)
    return np.stack([mean, np.maximum(power - mean**2, 0)], 1).astype(np.float32)


def _side(full: int, count: int, multiple: int) -> int:
    return -(-(full + (count - 1) * OVERLAP) // (count * multiple)) * multiple


def _starts(full: int, side: int, count: int, multiple: int) -> tuple[int, ...]:
    if count == 1:
        return (0,)
    return tuple(-(-(i * (full - side)) // ((count - 1) * multiple)) * multiple for i in range(count))


def _shares(starts: tuple[int, ...], side: int, full: int) -> list[Float[np.ndarray, "n"]]:
    """The share of each tile in its rows (or columns): 1, fading over the overlaps from one to the next."""
    weights = [np.ones(min(side, full - start), np.float32) for start in starts]
    for i, start in enumerate(starts[1:], 1):
        shared = starts[i - 1] + side - start
        margin = shared // 4
        ramp = np.clip((np.arange(shared) + 0.5 - margin) / (shared - 2 * margin), 0, 1).astype(np.float32)
        weights[i][:shared] *= ramp[: len(weights[i])]
        weights[i - 1][len(weights[i - 1]) - shared :] *= 1 - ramp
    return weights
