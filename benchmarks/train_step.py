"""The training step of a preset: images/s, operations, share of the machine's measured peaks; and torch beside it.

python benchmarks/train_step.py --preset tiny base --crop 64 --batch 8 --threads 2 --json runs/train_step.json
python benchmarks/train_step.py --preset base --torch --crop 64 --batch 1 --threads 2

The peaks are measured here: the rate of a large matrix product in the step's type, and that of a copy. The roofline is
the larger of operations over the one and bytes over the other, both as the compiler counts them.
"""

import argparse
import functools
import json
import os
import pathlib
import statistics
import time

BLOCKS = {"base": (48, 1, 2)}  # channels, heads, blocks of the first level, compared with torch
ROUNDS = 7  # of jax and torch in turn


def main():
    arguments = _arguments()
    if arguments.threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # XLA counts these at start
    import jax

    peaks = measure_peaks(arguments)
    device = jax.devices()[0].device_kind
    print(f"on {device}: {peaks['flops'] / 1e9:.0f} GFLOP/s, {peaks['bytes'] / 1e9:.1f} GB/s copied")
    rows = [measure_step(preset, arguments) | {"peaks": peaks} for preset in arguments.preset]
    print("| preset | s a step | images/s | GFLOP | GB | share of the matmul peak | share of the roofline |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        matmul, memory = row["flops"] / peaks["flops"], row["bytes"] / peaks["bytes"]
        row |= {"matmul_share": matmul / row["seconds"], "roofline_share": max(matmul, memory) / row["seconds"]}
        print(
            f"| {row['preset']} | {row['seconds']:.4f} | {row['images_per_s']:.2f} | {row['flops'] / 1e9:.1f} "
            f"| {row['bytes'] / 1e9:.2f} | {row['matmul_share']:.1%} | {row['roofline_share']:.1%} |"
        )
    compared = (
        [compare(preset, arguments) for preset in arguments.preset if preset in BLOCKS] if arguments.torch else []
    )
    for row in compared:
        for what in ("forward", "both"):
            ours, theirs, ratio = (row[f"{name}_{what}"] for name in ("jax", "torch", "ratio"))
            print(f"{row['preset']} blocks, {what}: jax {ours:.4f} s, torch {theirs:.4f} s, torch/jax {ratio:.2f}")
        print(f"{row['preset']} blocks: largest difference of the outputs {row['difference']:.1e}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"steps": rows, "blocks": compared}, indent=2) + "\n")


def median_seconds(call, repeats: int) -> float:
    """Of `call()`, which waits for its result; the first two are not counted."""
    seconds = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[2:])


def measure_peaks(arguments: argparse.Namespace) -> dict[str, float]:
    """Operations a second of a square matrix product, and bytes read and written a second by adding one to an array."""
    import jax
    import jax.numpy as jnp

    side = 1024 if jax.devices()[0].platform == "cpu" else 8192
    matrix = jnp.ones((side, side), arguments.dtype)
    product = jax.jit(lambda a: a @ a)
    array = jnp.ones((side // 8, side, 32), jnp.float32)
    add = jax.jit(lambda a: a + 1)
    flops = 2 * side**3 / median_seconds(lambda: product(matrix).block_until_ready(), arguments.repeats)
    copied = 2 * array.nbytes / median_seconds(lambda: add(array).block_until_ready(), arguments.repeats)
    return {"flops": flops, "bytes": copied}


def measure_step(preset: str, arguments: argparse.Namespace) -> dict:
    """The first stage's step of `configs/lure_PRESET.py` over one batch that stays on the device."""
    import importlib

    import jax
    import jax.numpy as jnp

    from lure_jax.evaluation import plan as planning
    from lure_jax.models import registry as models
    from lure_jax.objectives import registry as objectives
    from lure_jax.training import loop, mesh
    from lure_jax.training import state as states

    config = importlib.import_module(f"configs.lure_{preset}").get_config()
    config.model.dtype = arguments.dtype
    name = config.recipe[0]
    stage = config.stages[name]
    stage.update(dict(batch=arguments.batch, crop=arguments.crop))
    model = models.build(config.model)
    grid = mesh.make_mesh(config.mesh)
    key = jax.device_put(jax.random.key(0), mesh.replicated(grid))
    init = functools.partial(models.initialise, model)
    abstract, _ = states.abstract_params(init, key, grid)
    made = states.Stage(name, objectives.build(stage, model), stage.steps, stage, None)
    (plan,) = states.make_plans([made], abstract, ema=config.ema, mesh=grid)
    state = states.begin_stage(plan, states.init_params(init, key, abstract), None)
    batch = {
        name: jax.device_put(jnp.full(leaf.shape, 0.5 if leaf.dtype == "float32" else 0, leaf.dtype), leaf.sharding)
        for name, leaf in planning.stand_in(config, stage, grid).items()
    }
    compiled = loop.compile_step(plan, batch, key, grid)
    kept = [state]

    def step():
        kept[0], metrics = compiled(kept[0], batch, key)
        jax.block_until_ready(metrics)

    seconds = median_seconds(step, arguments.repeats)
    cost = compiled.cost_analysis()
    return {
        "preset": preset,
        "dtype": arguments.dtype,
        "batch": arguments.batch,
        "crop": arguments.crop,
        "seconds": seconds,
        "images_per_s": arguments.batch / seconds,
        "flops": float(cost["flops"]),
        "bytes": float(cost["bytes accessed"]),
    }


def compare(preset: str, arguments: argparse.Namespace) -> dict:
    """The first level's transformer blocks, MDTA and GDFN, in jax and in plain torch: same weights, shapes, threads."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import torch

    from lure_jax.models.blocks import TransformerBlock

    channels, heads, blocks = BLOCKS[preset]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(arguments.batch, arguments.crop, arguments.crop, channels)).astype(np.float32)
    block = TransformerBlock(heads, 2.66)
    params = [nn_unbox(block.init(jax.random.key(i), jnp.asarray(x[:, :8, :8]))["params"]) for i in range(blocks)]

    def forward(params, x):
        for each in params:
            x = block.apply({"params": each}, x)
        return x

    run = jax.jit(forward)
    both = jax.jit(jax.grad(lambda params, x: jnp.sum(forward(params, x) ** 2)))
    torch.set_num_threads(arguments.threads or os.cpu_count())
    theirs = torch.nn.Sequential(*(torch_block(each, heads) for each in params))
    image = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).contiguous()

    def torch_both():
        theirs.zero_grad()
        (theirs(image) ** 2).sum().backward()

    def torch_forward():
        with torch.no_grad():
            return theirs(image)

    difference = np.abs(torch_forward().numpy().transpose(0, 2, 3, 1) - np.asarray(run(params, x))).max()
    timed = {
        "jax_forward": lambda: run(params, x).block_until_ready(),
        "torch_forward": torch_forward,
        "jax_both": lambda: jax.block_until_ready(both(params, x)),
        "torch_both": torch_both,
    }
    # In turns, so that what else the machine does meets all of them
    rounds = [{name: median_seconds(call, arguments.repeats) for name, call in timed.items()} for _ in range(ROUNDS)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in timed}
    ratios = {
        f"ratio_{what}": statistics.median(each[f"torch_{what}"] / each[f"jax_{what}"] for each in rounds)
        for what in ("forward", "both")
    }
    return {"preset": preset, "difference": float(difference), **medians, **ratios}


def nn_unbox(params):
    import flax.linen as nn

    return nn.unbox(params)


def torch_block(params, heads: int):
    """Restormer's block in torch with the weights of a `TransformerBlock`."""
    import numpy as np
    import torch
    import torch.nn.functional as F

    def parameter(array):
        return torch.nn.Parameter(torch.from_numpy(np.array(array)))

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = torch.nn.ParameterDict()
            for part, tree in params.items():
                for name, leaf in tree.items():
                    if not isinstance(leaf, dict):
                        self.weights[f"{part}_{name}"] = parameter(leaf)
                    elif leaf["kernel"].ndim == 2:  # a 1x1, (in, out) -> (out, in, 1, 1)
                        self.weights[f"{part}_{name}"] = parameter(np.asarray(leaf["kernel"]).T[..., None, None])
                    else:  # depthwise, (3, 3, C) -> (C, 1, 3, 3)
                        kernel = np.asarray(leaf["kernel"]).transpose(2, 0, 1)[:, None]
                        self.weights[f"{part}_{name}"] = parameter(kernel.copy())

        def norm(self, x, part):
            x = F.layer_norm(
                x.permute(0, 2, 3, 1), x.shape[1:2], self.weights[f"{part}_scale"], self.weights[f"{part}_bias"], 1e-6
            )
            return x.permute(0, 3, 1, 2)

        def forward(self, x):
            w, shape = self.weights, x.shape
            qkv = F.conv2d(self.norm(x, "attention_norm"), w["attention_qkv"])
            qkv = F.conv2d(qkv, w["attention_depthwise"], padding=1, groups=qkv.shape[1])
            query, key, value = qkv.reshape(shape[0], 3, heads, shape[1] // heads, -1).unbind(1)
            query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
            scores = (query @ key.transpose(-1, -2)) * w["attention_temperature"][:, None, None]
            x = x + F.conv2d((scores.softmax(-1) @ value).reshape(shape), w["attention_out"])
            hidden = F.conv2d(self.norm(x, "feed_forward_norm"), w["feed_forward_expand"])
            hidden = F.conv2d(hidden, w["feed_forward_depthwise"], padding=1, groups=hidden.shape[1])
            gate, value = hidden.chunk(2, 1)
            return x + F.conv2d(F.gelu(gate, approximate="tanh") * value, w["feed_forward_project"])

    return Block()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", nargs="+", default=["tiny"], help="tiny, small, base, large")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--torch", action="store_true", help="compare the first level's blocks with plain torch")
    parser.add_argument("--threads", type=int, help="CPU cores to use; default all")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
