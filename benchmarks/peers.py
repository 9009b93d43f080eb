"""Fusion quality beside other methods: `python benchmarks/peers.py --model lure_tiny [--split val]`."""

import argparse
import time

import numpy as np

from lure_jax.data.sources import shared_folder
from lure_jax.evaluation import fusion as protocol
from lure_jax.evaluation import peers, tables
from lure_jax.evaluation.baselines import BASELINES
from lure_jax.evaluation.real_images import registered_pairs, spread, stems
from lure_jax.evaluation.restoration import to_uint8
from lure_jax.inference.fuser import Fuser

BARS = ("msrs", "roadscene")  # sets of issue 2's row about medians
DIGITS = {name: 3 for name in (*protocol.RANKED, *protocol.SHOWN, *protocol.EXTRA, "value", "limit")}


def classical(rule):
    def fuse(visible, infrared):
        pair = visible[None] / np.float32(255), infrared[None, ..., None] / np.float32(255)
        return to_uint8(np.asarray(rule(*pair))[0])

    return fuse


def score_methods(pairs, methods):
    """method -> image -> scores."""
    scores = {}
    for name, fuse in methods.items():
        scores[name] = {stem: protocol.fusion_scores(fuse(*pair), *pair) for stem, pair in pairs.items()}
    return scores


def names_of(args, data, recorded):
    """set -> images: those others were measured on, or the validation split's."""
    if args.split == "test":
        names = {name: peers.image_names(methods) for name, methods in recorded.items()}
    else:
        names = {name: stems(data, folder, args.split) for name, folder in peers.FOLDERS.items()}
    wanted = args.sets.split(",") if args.sets else names
    return {name: spread(names[name], args.images) for name in wanted if names[name]}


def rank_table(methods, ranks):
    rows = [{"method": name, "mean rank": ranks[name], **{m: scores[m] for m in (*protocol.RANKED, *protocol.SHOWN)}}
            for name, scores in methods.items()]  # fmt: skip
    return sorted(rows, key=lambda row: row["mean rank"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", help="may be given several times; default lure_tiny")
    parser.add_argument("--prompt", default="auto")
    parser.add_argument("--split", default="test", choices=("test", "val"))
    parser.add_argument("--sets", help="msrs,roadscene,... (default all)")
    parser.add_argument("--images", type=int, help="at most so many of a set")
    parser.add_argument("--json", help="write all numbers there")
    parser.add_argument("--recorded", action="store_true", help="take recorded scores of the classical rules, but max")
    args = parser.parse_args()
    models, data = args.model or ["lure_tiny"], shared_folder()
    if data is None:
        parser.error("there are no real images: neither ../shared nor $LURE_SHARED holds data/")
    recorded = peers.read_recorded(data.parent / "peers") if args.split == "test" else {}
    rules = {n: classical(rule) for n, rule in BASELINES.items() if n == "max" or not (args.recorded and recorded)}
    others, ours, extra, start = {}, {model: {} for model in models}, {}, time.perf_counter()
    for name, images in names_of(args, data, recorded).items():
        pairs = registered_pairs(data, peers.FOLDERS[name], images)
        sizes = [visible.shape[:2] for visible, _ in pairs.values()]
        fused = score_methods(pairs, rules)
        for model in models:
            fuser = Fuser.load(model, sizes)
            mine = score_methods(pairs, {model: lambda v, i, f=fuser: f.fuse(v, i, args.prompt)})
            ours[model][name] = mine[model]
        known = {m: {i: scores[i] for i in images} for m, scores in recorded.get(name, {}).items() if m not in fused}
        others[name] = {m: protocol.mean_scores(one.values()) for m, one in (known | fused).items()}
        extra[name] = fused
        print(f"{name}: {len(images)} pairs, {time.perf_counter() - start:.0f} s", flush=True)

    results = {"prompt": args.prompt, "split": args.split, "others": others, "models": {}}
    for model in models:
        means = {name: protocol.mean_scores(scores.values()) for name, scores in ours[model].items()}
        sets = {name: {**others[name], model: means[name]} for name in others}
        for name, methods in sets.items():
            print(f"\n## {name}, {len(ours[model][name])} pairs, {args.split}\n")
            print(tables.markdown(rank_table(methods, protocol.mean_ranks(methods)), DIGITS))
        overall = protocol.overall_ranks(sets)
        everywhere = {m: protocol.mean_scores(sets[name][m] for name in sets) for m in overall}
        print(f"\n## All sets, {args.split}\n\n{tables.markdown(rank_table(everywhere, overall), DIGITS)}")
        medians = {name: protocol.at_median(means[name], others[name]) for name in BARS if name in means}
        print("\n## At or above the median of the other methods\n")
        print(tables.markdown([{"set": n, **m, "of 8": sum(m.values()), "met": sum(m.values()) >= 6}
                               for n, m in medians.items()]))  # fmt: skip
        vetoed = [{"set": name, **veto._asdict()} for name, scores in means.items()
                  for veto in protocol.vetoes(scores, others[name]["max"])]  # fmt: skip
        print(f"\n## Vetoes\n\n{tables.markdown(vetoed, DIGITS)}")
        results["models"][model] = {"means": means, "overall rank": overall, "medians": medians, "vetoes": vetoed,
                                    "images": ours[model]}  # fmt: skip
    if args.json:
        tables.write_json(args.json, results)


if __name__ == "__main__":
    main()
