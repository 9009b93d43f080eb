"""Restoration on real images: `python benchmarks/restoration.py --model lure_tiny [--split val] [--calibrate]`."""

import argparse

import cv2
import numpy as np

from lure_jax.data.sources import shared_folder
from lure_jax.evaluation import condition_head, tables
from lure_jax.evaluation import restoration as protocol
from lure_jax.evaluation.real_images import DEGRADED, clean_images, degraded_pairs, read_split
from lure_jax.evaluation.restoration import Pair
from lure_jax.inference import weights
from lure_jax.inference.fuser import Fuser
from lure_jax.text.conditions import MODALITIES

SEED, CROP, SYNTHETIC, STAKES = 0, condition_head.CROP, 12, 24
# Whole images, and mostly crops, so that these are not padded.
SIZES = [(480, 640)] * 80 + [(512, 512)] * 12 + [(400, 600)] * 8 + [(321, 481), (481, 321)] * 10 + [(CROP, CROP)] * 2000
DIGITS = {"SSIM": 3, "input SSIM": 3, "exact": 3, "F1": 3, "value": 3}


def non_local_means(image):
    """OpenCV's for colour at h = 3, which gives the recorded 37.07 dB / .954 over all 64 PolyU pairs."""
    return cv2.fastNlMeansDenoisingColored(image[..., ::-1].copy(), None, 3, 3, 7, 21)[..., ::-1]


CLASSICAL = {"PolyU": {"non-local means": non_local_means}, "LOL": {"gamma": protocol.gamma_to_mean}}


def tasks(data, split, limit):
    """(name, modality, the right sentence, pairs, classical methods) of real and of noisy pairs."""
    for name, row in DEGRADED.items():
        pairs = [Pair(*pair) for pair in degraded_pairs(data, split, name, limit)]
        if pairs:
            yield name, "visible", row.condition.replace("_", " "), pairs, CLASSICAL.get(name, {})
    photos = read_split(data, "restore/clean_cbsd68", "", split, "visible", limit)
    yield "sd 25", "visible", "noise", protocol.gaussian_pairs(photos, 25, SEED), {}
    thermal = [i for folder in clean_images(data, split, "infrared", limit).values() for i in folder.values()]
    yield "stripes", "infrared", "stripes", protocol.striped_pairs(thermal, SEED), {}
    noise = [protocol.condition_ids_of("infrared")["noise"]]
    yield "infrared noise", "infrared", "noise", protocol.synthetic_pairs(thermal, noise, SEED), {}


def restored(fuser, data, split, limit):
    rows = []
    for name, modality, sentence, pairs, classical in tasks(data, split, limit):
        ours = {
            f"prompt {sentence!r}": lambda i, m=modality, s=sentence: fuser.restore(i, m, s),
            "prompt auto": lambda i, m=modality: fuser.restore(i, m, "auto"),
        }
        scores = protocol.compare(pairs, classical | ours)
        rows += [{"pairs": name, "n": len(pairs), "method": method, "PSNR": psnr, "SSIM": ssim,
                  "gain": psnr - scores["input"].psnr, "brightness-matched PSNR": matched}
                 for method, (psnr, ssim, matched) in scores.items()]  # fmt: skip
    return rows


def reproduced(fuser, data, split, limit):
    return [
        {"modality": m, "folder": folder, "n": len(images),
         "PSNR of D(E(x))": protocol.reproduction(fuser.restore, list(images.values()), m)}
        for m in MODALITIES
        for folder, images in clean_images(data, split, m, limit).items() if images and "/noise" not in folder
    ]  # fmt: skip


def synthetic(fuser, data, split, limit):
    """Every condition on the middle of clean images, and what wrong prompts cost there."""
    rows = []
    for modality in MODALITIES:
        clean = clean_images(data, split, modality, limit)
        for name, index in list(protocol.condition_ids_of(modality).items())[1:]:  # all but clean
            pairs = protocol.synthetic_pairs(condition_head.middles(clean, name, SYNTHETIC), [index], SEED)
            after = protocol.restore_together(fuser.restore, pairs, modality, [index])
            after = [protocol.score(image, pair.reference) for image, pair in zip(after, pairs, strict=True)]
            cost = protocol.prompt_cost(fuser.restore, pairs, modality, name)
            (psnr_in, ssim_in, _), (psnr, ssim, _) = np.mean([protocol.score(*p) for p in pairs], 0), np.mean(after, 0)
            rows.append({"condition": f"{modality}/{name}", "input PSNR": psnr_in, "PSNR": psnr, "input SSIM": ssim_in,
                         "SSIM": ssim, "right - mean of wrong": cost.mean, "right - best wrong": cost.smallest,
                         "best wrong": cost.strongest_wrong})  # fmt: skip
    return rows


def bars(results):
    """The demands that restoration has to meet, where the split can show them."""
    gain = {(r["pairs"], r["method"]): r for r in results["restored"]}
    same = {m: [r["PSNR of D(E(x))"] for r in results["reproduced"] if r["modality"] == m] for m in MODALITIES}
    heads = {r["images"]: r for r in results["condition head"]}
    costs = [r["right - mean of wrong"] for r in results["synthetic"]]
    plain = [r["exact"] for k, r in heads.items() if "real" not in k and "compound" not in k]
    out = [tables.bar("D(E(x)) visible, worst folder, dB", min(same["visible"]), 38),
           tables.bar("D(E(x)) infrared, worst folder, dB", min(same["infrared"]), 45),
           tables.bar("PolyU gain over non-local means', dB", gain["PolyU", "prompt 'noise'"]["gain"]
                      - gain["PolyU", "non-local means"]["gain"], 0)]  # fmt: skip
    if ("LOL", "gamma") in gain:
        ours, gamma = gain["LOL", "prompt 'low light'"], gain["LOL", "gamma"]
        out += [tables.bar("LOL PSNR, dB", ours["PSNR"], 18.5),
                tables.bar("LOL SSIM over gamma's", ours["SSIM"] - gamma["SSIM"], 0.05)]  # fmt: skip
    out += [tables.bar("infrared stripes, gain, dB", gain["stripes", "prompt 'stripes'"]["gain"], 6),
            tables.bar("infrared noise, gain, dB", gain["infrared noise", "prompt 'noise'"]["gain"], 9),
            tables.bar("condition head, mean over conditions and clean", np.mean(plain), 0.95),
            tables.bar("real PolyU noise found", heads["visible/real noise"]["found"], 0.5),
            tables.bar("clean images not called low_light",
                       1 - heads["visible/clean"]["called low_light"] / heads["visible/clean"]["n"], 1),
            tables.bar("right prompt over wrong ones, mean, dB", float(np.mean(costs)), 0.5),
            tables.bar("right prompt over wrong ones, least condition, dB", min(costs), 0.1)]  # fmt: skip
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lure_tiny")
    parser.add_argument("--split", default="test", choices=("test", "val"))
    parser.add_argument("--images", type=int, help="at most so many of a folder")
    parser.add_argument("--json", help="write all tables there")
    parser.add_argument("--calibrate", action="store_true", help="choose thresholds on val, write them to the model")
    args = parser.parse_args()
    data = shared_folder()
    if data is None:
        parser.error("there are no real images: neither ../shared nor $LURE_SHARED holds data/")
    if args.calibrate:
        fuser = Fuser.load(args.model, SIZES)
        judged = condition_head.judge_split(fuser.detect, data, "val", args.images, SEED)
        least = condition_head.stakes(fuser.restore, data, "val", STAKES, SEED)
        thresholds = condition_head.calibrate(judged, least)
        condition_head.write_thresholds(weights.find(args.model), thresholds)
        print(tables.markdown([{"condition": name, "threshold": t} for name, t in thresholds.items()], 4), "\n")
    released = weights.load(args.model)
    fuser, chosen = Fuser(released, SIZES), (data, args.split, args.images)
    makers = {
        "reproduced": lambda _: reproduced(fuser, *chosen),
        "restored": lambda _: restored(fuser, *chosen),
        "synthetic": lambda _: synthetic(fuser, *chosen),
        "condition head": lambda _: condition_head.summary(
            condition_head.judge_split(fuser.detect, *chosen, SEED), released.thresholds),
        "bars": bars,
    }  # fmt: skip
    results = tables.print_each(makers, args.split, DIGITS)
    if args.json:
        tables.write_json(args.json, {"model": args.model, "split": args.split, **results})


if __name__ == "__main__":
    main()
