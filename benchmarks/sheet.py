"""A sheet of real images to look at: `python benchmarks/sheet.py --model lure_tiny --output /tmp/sheet.png`."""

import argparse
import pathlib

import numpy as np
from PIL import Image, ImageDraw

from lure_jax.data.sources import shared_folder
from lure_jax.evaluation import peers
from lure_jax.evaluation.baselines import BASELINES
from lure_jax.evaluation.real_images import degraded_pairs, read_split, registered_pairs, spread
from lure_jax.evaluation.restoration import striped_pairs, to_uint8
from lure_jax.inference import images
from lure_jax.inference.fuser import Fuser

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
SHOWN_RULES = ("max", "guided_filter")
BAND = 16  # pixels above an image, for its name


def cell(name, image, width, height):
    """An image in the middle of a white cell, reduced to fit, under its name."""
    picture = Image.fromarray(image).convert("RGB")
    picture.thumbnail((width, height), Image.Resampling.LANCZOS)
    out = Image.new("RGB", (width, height + BAND), "white")
    out.paste(picture, ((width - picture.width) // 2, BAND))
    ImageDraw.Draw(out).text((3, 2), name, fill="black")
    return out


def sheet(rows, width):
    """Rows of (name, image) as one picture; a cell is 3/4 as high as it is wide."""
    height = width * 3 // 4
    columns = max(len(row) for row in rows)
    out = Image.new("RGB", (columns * (width + 4), len(rows) * (height + BAND + 4)), "white")
    for y, row in enumerate(rows):
        for x, (name, image) in enumerate(row):
            out.paste(cell(name, image, width, height), (x * (width + 4), y * (height + BAND + 4)))
    return np.asarray(out)


def fused_rows(fuser, data, count, prompt):
    """visible, infrared, ours, classical rules and peers, on the pairs the peers were run on."""
    recorded, fused = peers.read_recorded(data.parent / "peers"), data.parent / "peers" / "fused"
    pairs = [(s, i) for s in recorded for i in peers.image_names(recorded[s])]
    for name, stem in spread(pairs, count):
        ((visible, infrared),) = registered_pairs(data, peers.FOLDERS[name], [stem]).values()
        batch = visible[None] / np.float32(255), infrared[None, ..., None] / np.float32(255)
        row = [(f"{name} {stem}", visible), ("infrared", infrared), ("ours", fuser.fuse(visible, infrared, prompt))]
        row += [(rule, to_uint8(np.asarray(BASELINES[rule](*batch))[0])) for rule in SHOWN_RULES]
        paths = sorted(fused.glob(f"*/{name}/{stem}.jpg"))
        yield row + [(path.parts[-3], images.read(path, "visible")) for path in paths]


def restored_rows(fuser, data, count):
    """degraded, restored with the right prompt and with auto, reference."""
    tasks = [(name, "visible", sentence, degraded_pairs(data, "test", name, count))
             for name, sentence in (("LOL", "low light"), ("PolyU", "noise"), ("awfusion haze", "haze"))]  # fmt: skip
    thermal = read_split(data, "msrs", "ir", "test", "infrared", count)
    tasks.append(("stripes", "infrared", "stripes", striped_pairs(thermal, seed=0)))
    for name, modality, sentence, pairs in tasks:
        for degraded, reference in pairs:
            yield [(name, degraded), (f"ours, {sentence!r}", fuser.restore(degraded, modality, sentence)),
                   ("ours, auto", fuser.restore(degraded, modality, "auto")), ("reference", reference)]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lure_tiny")
    parser.add_argument("--output", required=True, help="a .png outside of the repository: the pictures are not ours")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--restored", type=int, default=2, help="images of each kind")
    parser.add_argument("--prompt", default="auto")
    parser.add_argument("--width", type=int, default=320, help="of one image, in pixels")
    args = parser.parse_args()
    output, data = pathlib.Path(args.output).resolve(), shared_folder()
    if output.is_relative_to(REPOSITORY):
        parser.error(f"--output {output} lies in the repository, where pictures of these data sets must not be")
    if data is None:
        parser.error("there are no real images: neither ../shared nor $LURE_SHARED holds data/")
    fuser = Fuser.load(args.model)
    rows = [*fused_rows(fuser, data, args.pairs, args.prompt), *restored_rows(fuser, data, args.restored)]
    images.write(output, sheet(rows, args.width))
    print(f"{len(rows)} rows in {output}")


if __name__ == "__main__":
    main()
