"""An explanation as a sheet of labelled pictures: what went in, where the text acted, and what came out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image as Pillow
from PIL import ImageDraw

from lure_jax.inference import arrays
from lure_jax.inference.explanation import Explanation, Level
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.prompt import Prompt

WIDTH, BAND, HEAD, GAP = 300, 20, 30, 6  # pixels: a cell, its label, a section's title, between cells
MOSAIC = 3  # tokens a side of a cell


class Cell(NamedTuple):
    """A picture (H,W,3) uint8 and what it shows."""

    label: str
    picture: UInt8[np.ndarray, "H W 3"]


class Section(NamedTuple):
    """What is to be shown of one image.

    Attributes:
      title: above the pictures.
      image: as it was given, (H,W,C) in [0,1].
      restored: with the prompt.
      as_clean: restored with the prompt "clean".
      fused: with the other image; None without one.
      explanation: where the prompt acted.
    """

    title: str
    image: Float[np.ndarray, "H W C"]
    restored: Float[np.ndarray, "H W C"]
    as_clean: Float[np.ndarray, "H W C"]
    fused: Float[np.ndarray, "H W 3"] | None
    explanation: Explanation


def sheet(sections: Sequence[Section]) -> UInt8[np.ndarray, "h w 3"]:
    """All sections below each other: a row of images, then a row of maps for each resolution, coarsest first."""
    rows = {section.title: [_images(section), *(_maps(section, level) for level in section.explanation.levels)]
            for section in sections}  # fmt: skip
    columns = max(len(row) for section in rows.values() for row in section)
    parts = [_section(title, section, columns) for title, section in rows.items()]
    return np.concatenate(parts)


def explain_pair(
    fuser: Fuser, pair: Mapping[str, np.ndarray], prompt: Prompt, asked: str
) -> UInt8[np.ndarray, "h w 3"]:
    """The sheet of two registered images, or of one alone.

    Args:
      fuser: of a LURE model.
      pair: "visible" and "infrared", or one of them, as the Fuser takes them.
      prompt: what is wrong with them.
      asked: the words of it.

    Raises:
      ValueError: as `Fuser.explain` and `Fuser.fuse`.
    """
    pair = {modality: arrays.to_unit(image, modality, fuser.fit_tone)[0][0] for modality, image in pair.items()}
    explanations = {modality: fuser.explain(image, modality, prompt) for modality, image in pair.items()}
    fused = fuser.fuse(pair["visible"], pair["infrared"], prompt) if len(pair) > 1 else None
    sections = [
        Section(
            f"{modality}: {explanation.words} ({asked})",
            pair[modality],
            fuser.restore(pair[modality], modality, prompt),
            fuser.restore(pair[modality], modality, prompt, strength=0),
            fused,
            explanation,
        )
        for modality, explanation in explanations.items()
    ]
    return sheet(sections)


def _images(section: Section) -> list[Cell]:
    change = np.abs(section.restored - section.as_clean).mean(-1)
    cells = [
        Cell("input", _shown(section.image)),
        Cell("restored", _shown(section.restored)),
        _coloured('changed against "clean"', change, 1, change.shape),
    ]
    return cells if section.fused is None else [*cells, Cell("fused", _shown(section.fused))]


def _maps(section: Section, level: Level) -> list[Cell]:
    size, prompts = section.image.shape[:2], section.explanation.prompts
    where, cells = f"stride {level.stride}", []
    if len(prompts) > 1:  # else it is 1 everywhere
        for name, attention in zip(prompts, level.attention, strict=True):
            cells.append(_coloured(f"{where}: attention to {name}", attention.sum(0), level.stride, size))
    cells += [
        _mosaic(f"{where}: tokens of {name}", attention, level.stride, size)
        for name, attention in zip(prompts, level.attention, strict=True)
    ]
    cells.append(_coloured(f"{where}: |gamma|", level.gamma, level.stride, size))
    return [*cells, _coloured(f"{where}: |beta|", level.beta, level.stride, size)]


def _coloured(label: str, values: Float[np.ndarray, "h w"], stride: int, size: tuple[int, int]) -> Cell:
    low, high = float(values.min()), float(values.max())
    return Cell(f"{label}, {low:.2g} to {high:.2g}", _colours(_enlarged(values, stride, size), low, high))


def _mosaic(label: str, attention: Float[np.ndarray, "K h w"], stride: int, size: tuple[int, int]) -> Cell:
    """The tokens whose attention varies most over the image, in their order and in one scale of colours."""
    chosen = np.sort(np.argsort(-attention.std((1, 2)))[: MOSAIC**2])
    attention = attention[chosen]
    low, high = float(attention.min()), float(attention.max())
    height, width = _cell_size(size)
    height, width = height // MOSAIC, width // MOSAIC
    picture = np.full((MOSAIC * height, MOSAIC * width, 3), 255, np.uint8)
    for place, (number, values) in enumerate(zip(chosen, attention, strict=True)):
        small = cv2.resize(_colours(_enlarged(values, stride, size), low, high), (width - 2, height - 2),
                           interpolation=cv2.INTER_AREA)  # fmt: skip
        numbered = Pillow.fromarray(small)
        ImageDraw.Draw(numbered).text((3, 1), str(number + 1), fill="white", font_size=11, stroke_width=1,
                                      stroke_fill="black")  # fmt: skip
        top, left = place // MOSAIC * height, place % MOSAIC * width
        picture[top : top + height - 2, left : left + width - 2] = np.asarray(numbered)
    return Cell(f"{label}, {low:.2g} to {high:.2g}", picture)


def _enlarged(values: Float[np.ndarray, "h w"], stride: int, size: tuple[int, int]) -> Float[np.ndarray, "H W"]:
    """A map at the image's own size."""
    height, width = values.shape
    whole = cv2.resize(values.astype(np.float32), (width * stride, height * stride), interpolation=cv2.INTER_LINEAR)
    return whole[: size[0], : size[1]]


def _colours(values: Float[np.ndarray, "H W"], low: float, high: float) -> UInt8[np.ndarray, "H W 3"]:
    """Dark blue to yellow; a flat map is dark."""
    unit = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return cv2.applyColorMap(np.round(255 * unit).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]


def _shown(image: Float[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W 3"]:
    return np.repeat(np.round(255 * np.clip(image, 0, 1)).astype(np.uint8), 3 // image.shape[-1], -1)


def _cell_size(size: tuple[int, int]) -> tuple[int, int]:
    return max(1, round(WIDTH * size[0] / size[1])), WIDTH


def _section(title: str, rows: Sequence[Sequence[Cell]], columns: int) -> UInt8[np.ndarray, "h w 3"]:
    height, _ = _cell_size(rows[0][0].picture.shape[:2])
    out = Pillow.new("RGB", (columns * (WIDTH + GAP) - GAP, HEAD + len(rows) * (height + BAND + GAP)), "white")
    draw = ImageDraw.Draw(out)
    draw.text((3, 6), title, fill="black", font_size=17)
    for down, row in enumerate(rows):
        for across, cell in enumerate(row):
            left, top = across * (WIDTH + GAP), HEAD + down * (height + BAND + GAP)
            draw.text((left + 2, top + 3), cell.label, fill="black", font_size=12)
            picture = Pillow.fromarray(cell.picture).resize((WIDTH, height), Pillow.Resampling.LANCZOS)
            out.paste(picture, (left, top + BAND))
    return np.asarray(out)
