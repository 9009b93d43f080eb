"""`lure`: the command line; every command is one call into the packages."""

import os
import pathlib

import click

from lure_jax import cli_data, cli_evaluate
from lure_jax.cli_data import Failure

_PATH = click.Path(path_type=pathlib.Path)
_MODEL = click.option("--model", default="lure_tiny", show_default=True, help="Name, model folder or training workdir.")
_PROMPT = click.option(
    "--prompt", default="auto", show_default=True, help='What is wrong, e.g. "dark and noisy, the thermal has stripes".'
)
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace what exists.")
_TONE = click.option(
    "--tone", default="percentile", show_default=True, help="Radiometric infrared: percentile, plateau or LOW:HIGH."
)
_MEMORY = click.option("--memory", help="Budget, like 2GB; larger images go in tiles. Default 4GB, or most of a GPU.")


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
@_TONE
@_MEMORY
@click.option("--align", is_flag=True, help="Register the infrared image to the visible one; crops to what both show.")
@_OVERWRITE
def fuse(visible, infrared, output, **options):
    """Fuse registered images of one size, or two folders of them."""
    from lure_jax.inference import folders

    _finish(folders.fuse_files, visible, infrared, output, **options)


@main.command()
@click.option("--input", "source", required=True, type=_PATH, help="Image or folder.")
@click.option("--output", required=True, type=_PATH, help="File (its suffix says the format), or folder for STEM.png.")
@click.option("--modality", required=True, type=click.Choice(["visible", "infrared"]))
@_PROMPT
@_MODEL
@_TONE
@_MEMORY
@_OVERWRITE
def restore(source, output, **options):
    """Remove noise, haze, stripes, ... from images of one camera."""
    from lure_jax.inference import folders

    _finish(folders.restore_files, source, output, **options)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 for any free one.")
@_MODEL
@click.option("--max-upload-mb", default=32.0, show_default=True, type=click.FloatRange(0.01), help="Of one request.")
@click.option("--max-megapixels", default=4.0, show_default=True, type=click.FloatRange(0.01), help="Of one image.")
@click.option("--concurrency", default=1, show_default=True, type=click.IntRange(1), help="Images fused at a time.")
def serve(host, port, model, max_upload_mb, max_megapixels, concurrency):
    """Serve a web page and a REST API."""
    try:
        from lure_jax.serve.limits import Limits
        from lure_jax.serve.run import serve as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("lure_jax"):
            raise
        raise Failure("The server needs FastAPI; install it with: pip install 'lure-jax[serve]'") from error
    limits = Limits(int(max_upload_mb * 2**20), int(max_megapixels * 1e6), concurrency)
    try:
        run(model, host, port, limits, tell=click.echo)
    except ValueError as error:
        raise Failure(str(error)) from error


main.add_command(cli_data.data)
cli_evaluate.register(main)


def _finish(work, *args, **options):
    """Runs a folder function and says how it went: exit code 0 if every file succeeded, else 2."""
    try:
        report = work(*args, **options, tell=lambda warning: click.echo(f"Warning: {warning}", err=True))
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


def _use_compilation_cache():
    """Keeps compiled programs between runs; JAX_COMPILATION_CACHE_DIR says another place."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "lure-jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


if __name__ == "__main__":
    main()
