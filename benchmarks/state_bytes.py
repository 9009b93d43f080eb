"""What each device holds of a recipe's training state, counted on devices that are only pretended: a table and JSON.

python benchmarks/state_bytes.py --config configs/lure_base.py --fsdp 1 2 4 8 16 --json runs/state_bytes.json
"""

import argparse
import json
import os
import pathlib
import runpy


def main():
    arguments = _arguments()
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={max(arguments.fsdp) * arguments.model}"
    config = runpy.run_path(str(arguments.config))["get_config"]()
    rows = [measure(config, fsdp, arguments.model) for fsdp in arguments.fsdp]
    print("| fsdp | model | state MB of a device | share of the whole | times fsdp | not sharded over fsdp MB |")
    print("|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        share = row["bytes"] / rows[0]["bytes"]
        print(
            f"| {row['fsdp']} | {row['model']} | {row['bytes'] / 1e6:.2f} | {share:.4f} | {share * row['fsdp']:.3f} "
            f"| {row['whole'] / 1e6:.3f} |"
        )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(config, fsdp: int, model: int) -> dict:
    """Bytes of the first stage's state on the fullest device, by its `addressable_shards`, and of what stays whole."""
    import jax
    import jax.numpy as jnp

    from lure_jax.models import registry as models
    from lure_jax.objectives import registry as objectives
    from lure_jax.training import mesh
    from lure_jax.training import state as states

    devices = jax.devices()[: fsdp * model]
    grid = mesh.make_mesh(dict(data=1, fsdp=fsdp, model=model), devices)
    network = models.build(config.model)
    heads = models.build_heads(config, network)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, _ = states.abstract_params(lambda key: models.initialise(network, key, heads), key, grid)
    name = config.recipe[0]
    stage = config.stages[name]
    stage.batch = fsdp  # of no consequence for the state
    made = states.Stage(name, objectives.build(stage, network, heads), stage.steps, stage, None)
    (plan,) = states.make_plans([made], params, ema=config.ema, mesh=grid)
    zeros = lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), plan.abstract)  # noqa: E731
    state = jax.jit(zeros, out_shardings=plan.shardings)()
    held, whole = dict.fromkeys(devices, 0), 0
    for leaf in jax.tree.leaves(state):
        for shard in leaf.addressable_shards:
            held[shard.device] += shard.data.nbytes
        whole += leaf.nbytes if fsdp > 1 and leaf.sharding.is_fully_replicated else 0
    return {"config": name, "fsdp": fsdp, "model": model, "bytes": max(held.values()), "whole": whole}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=pathlib.Path, default=pathlib.Path("configs/lure_base.py"))
    parser.add_argument("--fsdp", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="the first is compared with")
    parser.add_argument("--model", type=int, default=1)
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
