"""How far warm people stand out: `python benchmarks/targets.py --model lure_tiny`, on annotated real test pairs."""

import argparse

import numpy as np
from scipy import ndimage

from lure_jax.data.sources import shared_folder
from lure_jax.evaluation import tables
from lure_jax.evaluation.baselines import BASELINES
from lure_jax.evaluation.folders import Sources
from lure_jax.evaluation.methods import read_methods
from lure_jax.evaluation.real_images import read, registered_pairs, spread, stems
from lure_jax.metrics.color import luma

PERSON = 0  # class of a box
LEAST = 24  # pixels that a person is high
ENOUGH = 60  # warm pixels of a target
WARMER = 25  # levels of infrared above the surroundings
AROUND = (7, 25)  # sides of the squares, in pixels, by which a target is grown to where its surroundings begin and end
FAINT = 15  # levels of contrast below which a target hardly stands out


def people(data, stem, infrared):
    """Warm pixels (H,W) of each person that MSRS' boxes of the fused frame name, in its own box."""
    height, width = infrared.shape
    boxes = []
    for line in (data / "msrs" / "boxes_fusion" / f"{stem}.txt").read_text().splitlines():
        kind, x, y, w, h = (float(value) for value in line.split())
        if kind == PERSON and h * height >= LEAST:
            box = np.zeros(infrared.shape, bool)
            top, left = int((y - h / 2) * height), int((x - w / 2) * width)
            box[max(top, 0) : int((y + h / 2) * height), max(left, 0) : int((x + w / 2) * width)] = True
            boxes.append(box)
    return [box & (infrared > infrared[surroundings(box, boxes)].mean() + WARMER) for box in boxes]


def labelled(data, stem, infrared):
    """The pixels (H,W) of a TNO frame's label, as one target."""
    del infrared
    return [read(data, "tno_masks/label", stem, "infrared") > 0]


def surroundings(target, targets):
    """Pixels (H,W) near a target, but not at its edge nor in any of the targets."""
    near, far = (ndimage.binary_dilation(target, np.ones((side, side))) for side in AROUND)
    return far & ~near & ~np.any(targets, 0)


def contrast(image, target, around):
    """Mean luma of a target less that of its surroundings, in levels of 255."""
    y = np.asarray(luma(image.astype(np.float32))) if image.ndim == 3 else image.astype(float)
    return y[target].mean() - y[around].mean()


SETS = {
    "MSRS, day": ("msrs", people, lambda stem: stem.endswith("D")),
    "MSRS, night": ("msrs", people, lambda stem: stem.endswith("N")),
    "TNO": ("tno_masks", labelled, lambda stem: True),
}


def rows(name, pairs, targets, models):
    """A row of the table for each image or method: pairs by stem, and the targets of each with surroundings."""
    methods = read_methods([*BASELINES, *models], [pair.visible.shape[:2] for pair in pairs.values()])
    shown = {part: {stem: getattr(pair, part) for stem, pair in pairs.items()} for part in Sources._fields}
    shown |= {method.name: {stem: method.fuse(stem, pair) for stem, pair in pairs.items()} for method in methods}
    for method, images in shown.items():
        values = np.array([contrast(images[s], *target) for s in pairs for target in targets[s]])
        yield {"set": name, "targets": len(values), "method": method, "contrast": values.mean(),
               "either way": np.abs(values).mean(),
               f"below {FAINT} %": 100 * (np.abs(values) < FAINT).mean()}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", help="may be given several times; default lure_tiny")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"), help="of MSRS; TNO is all test")
    parser.add_argument("--images", type=int, help="at most so many of a set")
    parser.add_argument("--json", help="write all numbers there")
    args = parser.parse_args()
    data = shared_folder()
    if data is None:
        parser.error("there are no real images: neither ../shared nor $LURE_SHARED holds data/")
    table = []
    for name, (folder, targets_of, wanted) in SETS.items():
        names = [stem for stem in stems(data, folder, args.split if folder == "msrs" else "test") if wanted(stem)]
        pairs = {s: Sources(*pair) for s, pair in registered_pairs(data, folder, spread(names, args.images)).items()}
        targets = {s: [t for t in targets_of(data, s, pair.infrared) if t.sum() >= ENOUGH] for s, pair in pairs.items()}
        targets = {s: [(t, surroundings(t, found)) for t in found] for s, found in targets.items()}
        pairs = {s: pair for s, pair in pairs.items() if targets[s]}
        if pairs:
            table += rows(name, pairs, targets, args.model or ["lure_tiny"])
    print("Levels of luma by which warm targets are brighter than their surroundings, or differ either way\n")
    print(tables.markdown(table, 1))
    if args.json:
        tables.write_json(args.json, {"targets": table})


if __name__ == "__main__":
    main()
