"""A comparison as a folder that a browser opens without a server: table, box plots, contact sheets, CSV files."""

import html
import importlib.util
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow
from PIL import ImageDraw

from lure_jax.errors import UserError
from lure_jax.evaluation import compare
from lure_jax.evaluation import fusion as protocol
from lure_jax.evaluation.compare import Comparison, Row
from lure_jax.evaluation.folders import write_csv
from lure_jax.evaluation.restoration import Image

SHEETS = 6  # pairs with pictures
CROP_SHARE, LEAST_CROP = 6, 32  # a crop's side as a part of the image's shorter one; pixels
COLUMNS, WIDTH, BAND, GAP = 4, 360, 18, 6  # cells in a row; pixels: a cell, the line for its name, between cells
FRAMES = ("red", "deepskyblue")  # of the two places that `compare.places` finds
PLOTTED = (*protocol.RANKED, *protocol.SHOWN, protocol.OVERSHOOT, protocol.COLOUR, compare.CHROMA)
GENERATOR = '<meta name="generator" content="lure compare">'  # by which a folder is known to be ours to replace


class ReportError(UserError):
    """A report that cannot be written; the message is one sentence."""


def check(folder: os.PathLike, *, overwrite: bool) -> None:
    """Complains before any work.

    Raises:
      ReportError: matplotlib is missing, or the folder exists and may not be replaced.
    """
    folder = pathlib.Path(folder)
    if importlib.util.find_spec("matplotlib") is None:
        raise ReportError("The report's box plots need matplotlib; install it with: pip install 'lure-jax[report]'")
    if folder.is_file() or any(parent.is_file() for parent in folder.parents):
        raise ReportError(f"The report {folder} cannot be written: a file is in its place.")
    if not folder.exists() or not any(folder.iterdir()):
        return
    index = folder / "index.html"
    if not (index.is_file() and GENERATOR in index.read_text(errors="replace")):
        raise ReportError(f"{folder} holds other files than a report; name a new folder.")
    if not overwrite:
        raise ReportError(f"The report {folder} already exists; give --overwrite to replace.")


def write(folder: os.PathLike, comparison: Comparison, rows: Sequence[Row]) -> None:
    """Writes index.html, its PNG files, table.csv and per_image.csv into a new folder that then gets its name.

    Args:
      folder: that `check` allowed.
      comparison: with pictures.
      rows: `compare.table` of it.
    """
    folder = pathlib.Path(folder).absolute()
    draft = folder.parent / f".{folder.name}-{uuid.uuid4().hex[:8]}"
    draft.mkdir(parents=True)
    try:
        write_csv(draft / "table.csv", compare.plain(rows))
        write_csv(draft / "per_image.csv", compare.per_image(comparison.scores))
        plots = list(_write_plots(draft, comparison.scores, [row.method for row in rows]))
        sheets = {}
        for index, (stem, pictures) in enumerate(comparison.pictures.items()):
            sheets[stem] = f"sheet_{index}.png"
            Pillow.fromarray(sheet(pictures)).save(draft / sheets[stem])
        (draft / "index.html").write_text(_page(comparison, rows, plots, sheets), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def sheet(pictures: Mapping[str, Image]) -> UInt8[np.ndarray, "h w 3"]:
    """One pair as every method shows it, and below each image the places where the methods differ most, enlarged.

    Args:
      pictures: name -> image, all of one height and width; "visible" and "infrared" come first.
    """
    height, width = pictures["visible"].shape[:2]
    methods = {name: image for name, image in pictures.items() if name not in ("visible", "infrared")}
    side = min(height, width, max(LEAST_CROP, min(height, width) // CROP_SHARE))
    boxes = [
        (left, top, left + side, top + side)
        for top, left in compare.places(methods if len(methods) > 1 else pictures, side)
    ]
    cells = [_cell(name, image, boxes) for name, image in pictures.items()]
    across, down = min(COLUMNS, len(cells)), -(-len(cells) // COLUMNS)
    step = cells[0].width + GAP, cells[0].height + GAP
    out = Pillow.new("RGB", (across * step[0] - GAP, down * step[1] - GAP), "white")
    for index, cell in enumerate(cells):
        out.paste(cell, (index % COLUMNS * step[0], index // COLUMNS * step[1]))
    return np.asarray(out)


def _cell(name: str, image: Image, boxes: Sequence[tuple[int, int, int, int]]) -> Pillow.Image:
    picture = Pillow.fromarray(image).convert("RGB")
    scale = WIDTH / picture.width
    whole = picture.resize((WIDTH, round(picture.height * scale)), Pillow.Resampling.LANCZOS)
    zoomed = (WIDTH - GAP) // 2
    out = Pillow.new("RGB", (WIDTH, BAND + whole.height + GAP + zoomed), "white")
    out.paste(whole, (0, BAND))
    draw = ImageDraw.Draw(out)
    draw.text((2, 3), name, fill="black", font_size=12)
    for index, (box, colour) in enumerate(zip(boxes, FRAMES, strict=False)):
        crop = picture.crop(box).resize((zoomed, zoomed), Pillow.Resampling.NEAREST)
        left, top = index * (zoomed + GAP), BAND + whole.height + GAP
        out.paste(crop, (left, top))
        draw.rectangle((left, top, left + zoomed - 1, top + zoomed - 1), outline=colour, width=2)
        x, y, right, bottom = (round(edge * scale) for edge in box)
        draw.rectangle((x, y + BAND, right - 1, bottom + BAND - 1), outline=colour, width=2)
    return out


def _write_plots(
    folder: pathlib.Path, scores: Mapping[str, Mapping[str, protocol.Scores]], methods: Sequence[str]
) -> Iterable[str]:
    """A box plot for each metric of `PLOTTED`; gives the names of the files."""
    from matplotlib.figure import Figure  # optional, and without pyplot no display is looked for

    for index, metric in enumerate(PLOTTED):
        figure = Figure(figsize=(4.4, 0.9 + 0.3 * len(methods)), dpi=110, layout="constrained")
        axes = figure.subplots()
        values = [[image[metric] for image in scores[method].values()] for method in methods]
        axes.boxplot(values, orientation="horizontal", widths=0.6, showmeans=True, flierprops={"markersize": 3})
        axes.set_yticks(range(1, len(methods) + 1), methods)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.set_title(metric if metric in protocol.RANKED else f"{metric} (not ranked)", fontsize=10)
        axes.tick_params(labelsize=8)
        figure.savefig(folder / f"box_{index}.png")
        yield f"box_{index}.png"


def _page(comparison: Comparison, rows: Sequence[Row], plots: Iterable[str], sheets: Mapping[str, str]) -> str:
    pairs = len(comparison.limits)
    images = "\n".join(f'<img src="{name}" alt="box plot">' for name in plots)
    pictures = "\n".join(
        f'<h3>{html.escape(stem)}</h3>\n<img src="{name}" alt="{html.escape(stem)}">' for stem, name in sheets.items()
    )
    failed = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in comparison.failures)
    failed = f"<h2>Not judged</h2>\n<ul>{failed}</ul>\n" if failed else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{GENERATOR}
<title>Fusion methods compared</title>
<style>
body {{ font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1640px; padding: 0 1em; color: #222; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25em .45em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }}
th:first-child, td:first-child, th:last-child, td:last-child {{ text-align: left; }}
td:last-child {{ white-space: normal; min-width: 9em; }}
td.aside {{ color: #777; }}
td.vetoed {{ color: #b00; }}
img {{ max-width: 100%; }}
.plots img {{ width: 32%; min-width: 300px; vertical-align: top; }}
.wide {{ overflow-x: auto; }}
</style>
</head>
<body>
<h1>Fusion methods compared</h1>
<p>{pairs} pair{"s" if pairs != 1 else ""}. The mean rank is taken over {", ".join(protocol.RANKED)}: the metrics that
refer to the sources. {", ".join(protocol.SHOWN)} do not, stretching and sharpening win them, so they are only shown.
For these nine larger is better. Red: vetoed, whatever the rank; that is more clipped pixels than the sources' +
{protocol.CLIPPED_MARGIN} %, more overshoot beyond the sources' local range than pixel max +
{protocol.OVERSHOOT_MARGIN} grey levels, or chroma further from the visible image than pixel max's +
{compare.CHROMA_MARGIN} levels of 255.
The same numbers: <a href="table.csv">table.csv</a>, <a href="per_image.csv">per_image.csv</a>.</p>
<div class="wide">
{_table(rows)}
</div>
{failed}<h2>Spread over the pairs</h2>
<div class="plots">
{images}
</div>
<h2>Pictures</h2>
<p>In the red squares the methods differ most in brightness, in the blue ones in detail; enlarged below each image.</p>
{pictures}
</body>
</html>
"""


def _table(rows: Sequence[Row]) -> str:
    lines = []
    for row, texts in zip(rows, compare.readable(rows, bold="<b>{}</b>"), strict=True):
        vetoed = {"vetoed by", *(veto.what for veto in row.vetoes)}
        cells = []
        for column, text in texts.items():
            kind = "aside" if column in protocol.SHOWN else "vetoed" if column in vetoed else ""
            text = html.escape(text) if column in ("method", "vetoed by") else text
            cells.append(f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th>{html.escape(column)}</th>" for column in compare.readable(rows[:1])[0])
    return f"<table>\n<tr>{head}</tr>\n" + "\n".join(lines) + "\n</table>"
