"""bfloat16 against float32: the same stage, the same samples, so many steps of each; a table and the same as JSON.

python benchmarks/numerics.py --config configs/quickstart.py --steps 200 --data-dir data --json runs/numerics.json
"""

import argparse
import json
import pathlib
import runpy

import jax
import numpy as np

DTYPES = ("float32", "bfloat16")
LAST = 20  # steps that the final numbers are means of


def main():
    arguments = _arguments()
    runs = {dtype: run(arguments, dtype) for dtype in DTYPES}
    reference = np.array(runs["float32"]["loss"])
    print("| | first grad norm | loss, first | loss, last 20 | PSNR restored, last 20 | largest deviation of a loss |")
    print("|---|--:|--:|--:|--:|--:|")
    for dtype, row in runs.items():
        deviation = np.abs(np.array(row["loss"]) / reference - 1).max()
        ends = [np.mean(row[name][-LAST:]) if name in row else float("nan") for name in ("loss", "psnr_restored")]
        print(
            f"| {dtype} | {row['grad_norm'][0]:.4f} | {row['loss'][0]:.4f} | {ends[0]:.4f} | {ends[1]:.2f} "
            f"| {deviation:.2%} |"
        )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"steps": arguments.steps, **runs}, indent=2) + "\n")


def run(arguments: argparse.Namespace, dtype: str) -> dict[str, list[float]]:
    """The metrics of each step of the recipe's first stage, computed in that type."""
    from lure_jax.data import sources
    from lure_jax.evaluation.judging import make_iterator
    from lure_jax.models import registry as models
    from lure_jax.objectives import registry as objectives
    from lure_jax.training import loop, mesh
    from lure_jax.training import state as states

    config = runpy.run_path(str(arguments.config))["get_config"]()
    config.model.dtype, config.data.data_dir = dtype, arguments.data_dir
    name = config.recipe[0]
    stage = config.stages[name]
    stage.steps, stage.warmup = arguments.steps, min(stage.warmup, arguments.steps // 10)
    for key in ("batch", "crop"):
        if value := getattr(arguments, key):
            stage[key] = value
    sources.prepare(config)
    model = models.build(config.model)
    heads = models.build_heads(config, model)
    grid = mesh.make_mesh(config.mesh)
    key = jax.device_put(jax.random.key(config.seed), mesh.replicated(grid))

    def init(key):
        return models.initialise(model, key, heads)

    abstract, _ = states.abstract_params(init, key, grid)
    made = states.Stage(name, objectives.build(stage, model, heads), stage.steps, stage, None)
    (plan,) = states.make_plans([made], abstract, ema=config.ema, mesh=grid)
    state = states.begin_stage(plan, states.init_params(init, key, abstract), None)
    data, compiled, metrics = make_iterator(config, stage, seed=config.seed), None, []
    for _ in range(arguments.steps):
        batch = jax.device_put(next(data), mesh.batch_sharding(grid))
        compiled = compiled or loop.compile_step(plan, batch, key, grid)
        state, measured = compiled(state, batch, key)
        metrics.append(jax.device_get(measured))
    return {name: [float(row[name]) for row in metrics] for name in metrics[0]}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=pathlib.Path, default=pathlib.Path("configs/quickstart.py"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, help="default: the stage's")
    parser.add_argument("--crop", type=int, help="default: the stage's")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
