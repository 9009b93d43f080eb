"""`lure`: the command line; every command is one call into the packages."""

import os
import pathlib

import click

from lure_jax import cli_data, cli_evaluate
from lure_jax.cli_data import Failure

_PATH = click.Path(path_type=pathlib.Path)
_MODEL = click.option(
    "--model", default="lure_tiny", show_default=True, help="Name, folder, workdir or .safetensors file."
)
_PROMPT = click.option(
    "--prompt", default="auto", show_default=True, help='What is wrong, e.g. "dark and noisy, the thermal has stripes".'
)
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace what exists.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lure-jax")
def main():
    """Infrared-visible image fusion."""
    _use_compilation_cache()


@main.command()
@click.option("--visible", required=True, type=_PATH, help="Image or folder.")
@click.option("--infrared", required=True, type=_PATH, help="Image or folder; folders are matched by file stem.")
@click.option("--output", required=True, type=_PATH, help="File (its suffix says the format), or folder for STEM.png.")
@_PROMPT
@_MODEL
@_OVERWRITE
def fuse(visible, infrared, output, prompt, model, overwrite):
    """Fuse registered images of one size, or two folders of them."""
    from lure_jax.inference import folders

    _finish(folders.fuse_files, visible, infrared, output, prompt=prompt, model=model, overwrite=overwrite)


@main.command()
@click.option("--input", "source", required=True, type=_PATH, help="Image or folder.")
@click.option("--output", required=True, type=_PATH, help="File (its suffix says the format), or folder for STEM.png.")
@click.option("--modality", required=True, type=click.Choice(["visible", "infrared"]))
@_PROMPT
@_MODEL
@_OVERWRITE
def restore(source, output, modality, prompt, model, overwrite):
    """Remove noise, haze, stripes, ... from images of one camera."""
    from lure_jax.inference import folders

    _finish(folders.restore_files, source, output, modality=modality, prompt=prompt, model=model, overwrite=overwrite)


@main.command()
@_MODEL
@click.option("--format", "form", required=True, type=click.Choice(["orbax", "safetensors", "stablehlo", "onnx"]))
@click.option("--output", required=True, type=_PATH, help="File with the format's suffix; of orbax a folder.")
@click.option("--prompt", help="Baked into stablehlo and onnx; default: prompt ids are inputs.")
@_OVERWRITE
def export(model, form, output, prompt, overwrite):
    """Write a model for other programs; docs/export.md shows each format in use."""
    from lure_jax.errors import UserError
    from lure_jax.inference import export

    try:
        written = export.export(model, form, output, prompt=prompt or "", overwrite=overwrite, tell=_warn)
    except UserError as error:
        raise Failure(str(error)) from error
    for path in written:
        click.echo(f"{path} written")


main.add_command(cli_data.data)
cli_evaluate.register(main)


def _finish(work, *args, **options):
    """Runs a folder function and says how it went: exit code 0 if every file succeeded, else 2."""
    try:
        report = work(*args, **options, tell=_warn)
    except ValueError as error:
        raise Failure(str(error)) from error
    if report.failures and not report.written and len(report.failures) == 1:
        raise Failure(report.failures[0])
    if report.failures:
        for failure in report.failures:
            click.echo(f"Error: {failure}", err=True)
        total = report.written + len(report.failures)
        raise Failure(f"{len(report.failures)} of {total} images failed.")
    click.echo(f"{report.written} image{'s' if report.written > 1 else ''} written to {args[-1]}")


def _warn(sentence):
    click.echo(f"Warning: {sentence}", err=True)


def _use_compilation_cache():
    """Keeps compiled programs between runs; JAX_COMPILATION_CACHE_DIR says another place."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "lure-jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


if __name__ == "__main__":
    main()
