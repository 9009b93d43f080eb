"""What `auto` is worth beside the right prompt: `python benchmarks/text.py [--model lure_tiny] [--split test]`.

Three tables: the condition head on single, compound and real trouble; pairs with one image degraded, fused by `auto`
and by the prompt that names the condition, against the model's own fusion of the clean pair by `clean`, and real
trouble restored; clean pairs fused by `auto` and by `clean`. Then the demands, met or not.
"""

import argparse

import numpy as np

from lure_jax.data.degradations import DEGRADATIONS
from lure_jax.data.sources import shared_folder
from lure_jax.evaluation import condition_head, degraded, tables
from lure_jax.evaluation import restoration as protocol
from lure_jax.evaluation.folders import Sources
from lure_jax.evaluation.fusion import LEAST_SSIM, fusion_scores, mean_scores
from lure_jax.evaluation.real_images import ANY_HOUR, DEGRADED, degraded_pairs, registered_pairs, stems
from lure_jax.inference.fuser import Fuser
from lure_jax.inference.prompt import SLOTS, Prompt
from lure_jax.text.conditions import CONDITIONS, MODALITIES, clean_id, condition_id
from lure_jax.text.prompts import prompt_ids

SEED = 0
PAIRS = ("msrs", "roadscene")
SIZES = [(480, 640)] * 80 + [(512, 512)] * 12 + [(400, 600)] * 8 + [(condition_head.CROP,) * 2] * 2000
DIGITS = {"auto SSIM": 3, "prompt SSIM": 3, "labels right": 3, "exact": 3, "F1": 3, "value": 3,
          "VIF": 3, "Qabf": 3, "SCD": 3, "SSIM": 3}  # fmt: skip
DECIBELS = 0.3  # that `auto` may lie below the right prompt


def head(fuser, data, split, limit):
    """Each kind of images, then the means over the kinds of one sort."""
    sorts = {"clean": [], "single": [], "compound": [], "real": []}
    rows = []
    for group in condition_head.judge_split(fuser.detect, data, split, limit, SEED):
        kind = group.kind.split("/")[1].split(" ")[0]
        row = {"n": len(group.truth), "labels right": condition_head.label_accuracy(group, fuser.thresholds),
               "exact": condition_head.exact(group, fuser.thresholds),
               "F1": condition_head.micro_f1(group, fuser.thresholds) if group.truth.any() else None}  # fmt: skip
        rows.append({"images": group.kind, **row})
        sorts[kind if kind in sorts else "single"].append(row)
    rows += [{"images": f"all {sort}", "n": sum(row["n"] for row in own),
              **{name: float(np.mean([row[name] for row in own])) for name in ("labels right", "exact", "F1")
                 if own[0][name] is not None}}
             for sort, own in sorts.items() if own]  # fmt: skip
    return rows


def pairs_of(data, split, limit):
    """Folder -> clean pairs."""
    found = {folder: registered_pairs(data, folder, stems(data, folder, split, limit)) for folder in PAIRS}
    return {folder: [Sources(*pair) for pair in pairs.values()] for folder, pairs in found.items()}


def cases(folder):
    """What is done to the pairs of a folder: name -> the conditions of pair number `index`."""
    able = [
        c for c in CONDITIONS if c in DEGRADATIONS and (folder != ANY_HOUR or c.name not in condition_head.EXPOSURE)
    ]
    of = {modality: [c for c in able if c.modality == modality] for modality in MODALITIES}
    yield from (("/".join(c), lambda index, c=c: [c]) for c in able)
    yield "one on each image", lambda index: [own[index % len(own)] for own in of.values()]


def worsened(pair, conditions, index):
    """The pair with the conditions, and the prompt that names them."""
    present = {modality: [clean_id(modality)] for modality in MODALITIES}
    for condition in conditions:
        pair = degraded.degraded(pair, condition, index)
        present[condition.modality] = [condition_id(*condition)]
    return pair, Prompt(*(prompt_ids(present[modality], SLOTS) for modality in MODALITIES), ())


def _row(condition, scored):
    """One line: means over images of (PSNR, SSIM) with auto and with the right prompt."""
    (auto, auto_ssim), (prompt, prompt_ssim) = (np.mean(scored[name], 0) for name in ("auto", "prompt"))
    near = [ours[0] >= told[0] - DECIBELS for ours, told in zip(scored["auto"], scored["prompt"], strict=True)]
    return {"condition": condition, "n": len(scored["auto"]), "auto PSNR": auto, "prompt PSNR": prompt,
            "auto - prompt": auto - prompt, "within 0.3 dB": float(np.mean(near)), "auto SSIM": auto_ssim,
            "prompt SSIM": prompt_ssim}  # fmt: skip


def fused(fuser, data, split, limit):
    """Each condition: the fusion of degraded pairs against that of the clean ones; then real trouble, restored.

    The clean pairs are fused with the prompt "clean": by `auto`, a false alarm on a clean image would be the measure.
    """
    scored = {}
    for folder, pairs in pairs_of(data, split, limit).items():
        own = [fuser.fuse(*pair, "clean") for pair in pairs]
        for name, conditions in cases(folder):
            both = scored.setdefault(name, {"auto": [], "prompt": []})
            for index, pair in enumerate(pairs):
                bad, prompt = worsened(pair, conditions(index), index)
                for way, asked in (("auto", "auto"), ("prompt", prompt)):
                    both[way].append(protocol.score(fuser.fuse(*bad, asked), own[index])[:2])
    rows = [_row(name, both) for name, both in scored.items()]
    means = {column: float(np.mean([row[column] for row in rows])) for column in list(rows[0])[2:]}
    rows.append({"condition": "mean", "n": None, **means})
    for name in condition_head.REAL:
        sentence = DEGRADED[name].condition.replace("_", " ")
        found = [protocol.Pair(*pair) for pair in degraded_pairs(data, split, name, limit)]
        ways = {way: [protocol.score(fuser.restore(p.degraded, "visible", asked), p.reference)[:2] for p in found]
                for way, asked in (("auto", "auto"), ("prompt", sentence))}  # fmt: skip
        rows += [_row(f"real {sentence}, restored", ways)] if found else []
    return rows


def unharmed(fuser, data, split, limit):
    """Clean pairs: the metrics of their fusion by each prompt, and how far both are apart."""
    scores, apart, same = {"clean": [], "auto": []}, [], {"visible": [], "infrared": []}
    for pairs in pairs_of(data, split, limit).values():
        for pair in pairs:
            images = {prompt: fuser.fuse(*pair, prompt) for prompt in scores}
            for prompt, image in images.items():
                scores[prompt].append(fusion_scores(image, *pair))
            apart.append(protocol.psnr(images["auto"], images["clean"]))
            for modality, image in pair._asdict().items():
                same[modality].append(protocol.psnr(fuser.restore(image, modality, "clean"), image))
    rows = []
    for prompt, images in scores.items():
        means = mean_scores(images)
        rows.append({"prompt": prompt, "n": len(images), **{name: means[name] for name in degraded.TO_SOURCES}})
    rows[0] |= {f"D(E(x)) {modality}": float(np.mean(found)) for modality, found in same.items()}
    rows[1] |= {"PSNR to `clean`": float(np.mean(apart)), "equal": int(np.sum(np.array(apart) >= 99))}
    return rows


def bars(results):
    """Demands of the text's part."""
    judged = {row["images"]: row for row in results["condition head"]}
    conditions = {row["condition"]: row for row in results["auto against the right prompt"]}
    short = {name: row["auto - prompt"] for name, row in conditions.items() if name != "mean"}
    worst = min(short, key=short.get)
    clean, _ = results["clean pairs"]
    return [
        *(tables.bar(f"condition head, all {sort}, F1", judged[f"all {sort}"]["F1"], least)
          for sort, least in (("single", 0.9), ("compound", 0.8), ("real", 0.8)) if f"all {sort}" in judged),
        tables.bar("auto - prompt, mean over conditions, dB", conditions["mean"]["auto - prompt"], -DECIBELS),
        tables.bar(f"auto - prompt, worst ({worst}), dB", short[worst], -DECIBELS),
        tables.bar("clean pairs fused by `clean`, SSIM", clean["SSIM"], LEAST_SSIM),
        tables.bar("D(E(x)) visible by `clean`, dB", clean["D(E(x)) visible"], 38),
        tables.bar("D(E(x)) infrared by `clean`, dB", clean["D(E(x)) infrared"], 45),
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lure_tiny")
    parser.add_argument("--split", default="test", choices=("test", "val"))
    parser.add_argument("--images", type=int, help="at most so many of a folder")
    parser.add_argument("--json", help="write all tables there")
    args = parser.parse_args()
    data = shared_folder()
    if data is None:
        parser.error("there are no real images: neither ../shared nor $LURE_SHARED holds data/")
    fuser, chosen = Fuser.load(args.model, SIZES), (data, args.split, args.images)
    makers = {
        "condition head": lambda _: head(fuser, *chosen),
        "auto against the right prompt": lambda _: fused(fuser, *chosen),
        "clean pairs": lambda _: unharmed(fuser, *chosen),
        "bars": bars,
    }
    results = tables.print_each(makers, args.split, DIGITS)
    if args.json:
        tables.write_json(args.json, {"model": args.model, "split": args.split, **results})


if __name__ == "__main__":
    main()
