"""`lure plan`: what a recipe's training steps need of each chip."""

import ast
import pathlib

import click

from lure_jax.cli_data import Failure

_PATH = click.Path(path_type=pathlib.Path)


@click.command()
@click.option("--config", "recipe", required=True, metavar="FILE[:ARGUMENT]", help="As train.py takes it.")
@click.option("--topology", default="", help='A TPU slice, such as "v5e:16x16"; default: the devices of this machine.')
@click.option("--mesh", default="", help='Chips along each axis, e.g. "data=16,fsdp=16"; default: the recipe\'s.')
@click.option("--json", "json_file", type=_PATH, help="Write all numbers there.")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
def plan(recipe, topology, mesh, json_file, changes):
    """Compile a recipe's steps for a pod and say what they need of each chip: memory, operations, communication.

    KEY=VALUE changes the recipe: stages.space.batch=256.
    """
    from lure_jax.evaluation import plan as planning
    from lure_jax.evaluation import tables

    try:
        config = _read(recipe)
        sizes = [f"mesh.{size.strip()}" for size in mesh.split(",") if size.strip()]
        for change in [*sizes, *changes]:
            _change(config, change)
        steps = planning.plan(config, topology)
    except ValueError as error:
        raise Failure(str(error)) from error
    for sentence in dict.fromkeys(line for step in steps for line in step.not_sharded):
        click.echo(f"not sharded: {sentence}", err=True)
    click.echo(tables.markdown([planning.as_row(step) for step in steps], 1))
    for step in steps:
        if step.collectives:
            kinds = ", ".join(f"{kind} {size / 1e6:.1f} MB" for kind, size in sorted(step.collectives.items()))
            click.echo(f"{step.stage}: {kinds}")
    if json_file:
        tables.write_json(json_file, {"steps": planning.as_json(steps)})


def _read(recipe):
    """The config of a recipe's file, with the argument after the colon."""
    import runpy

    path, _, argument = recipe.partition(":")
    if not pathlib.Path(path).is_file():
        raise Failure(f"--config {path!r} is no file; give a recipe, such as configs/lure_tiny.py.")
    get_config = runpy.run_path(path).get("get_config")
    if get_config is None:
        raise Failure(f"--config {path!r} has no get_config().")
    return get_config(argument) if argument else get_config()


def _change(config, change):
    key, equals, value = change.partition("=")
    *folders, last = key.removeprefix("config.").split(".")
    place = config
    for folder in folders:
        place = place.get(folder) if hasattr(place, "get") else None
        if place is None:
            break
    if not equals or place is None or last not in place:
        raise Failure(f"{change!r} changes nothing of the recipe; write KEY=VALUE, such as stages.space.batch=256.")
    try:
        place[last] = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        place[last] = value
    except TypeError as error:
        raise Failure(f"{change!r}: {error}.") from error
