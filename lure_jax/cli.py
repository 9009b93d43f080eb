"""`lure`: the command line; every command is one call into the packages."""

import os
import pathlib
import signal

import click

from lure_jax import cli_data, cli_evaluate, cli_plan
from lure_jax.cli_data import Failure

_PATH = click.Path(path_type=pathlib.Path)
_MODEL = click.option(
    "--model", default="lure_tiny", show_default=True, help="Name, folder, workdir or .safetensors file."
)
_PROMPT = click.option(
    "--prompt", default="auto", show_default=True, help='What is wrong, e.g. "dark and noisy, the thermal has stripes".'
)
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace what exists.")
_TONE = click.option(
    "--tone", default="percentile", show_default=True, help="Radiometric infrared: percentile, plateau or LOW:HIGH."
)
_FPS = click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="Of folders to a video.  [default: 25]")
_AVERAGE = click.option(
    "--average", type=click.IntRange(min=1), help="Frames a still pixel of a video is the mean of.  [default: 8]"
)
_VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".wmv")
_VIDEO_OPTIONS = ("offset", "fps", "average")
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
@click.option("--offset", type=float, help="Seconds on the infrared video's clock at 0 of the visible one.")
@_FPS
@_AVERAGE
@_OVERWRITE
def fuse(visible, infrared, output, **options):
    """Fuse registered images of one size, two folders of them, or two videos."""
    if _is_video(output, visible, infrared):
        from lure_jax.inference import video

        return _finish_video(video.fuse_video, visible, infrared, output, **options)
    from lure_jax.inference import folders

    _finish(folders.fuse_files, visible, infrared, output, **_of_images(options))


@main.command()
@click.option("--input", "source", required=True, type=_PATH, help="Image or folder.")
@click.option("--output", required=True, type=_PATH, help="File (its suffix says the format), or folder for STEM.png.")
@click.option("--modality", required=True, type=click.Choice(["visible", "infrared"]))
@_PROMPT
@_MODEL
@_TONE
@_MEMORY
@_FPS
@_AVERAGE
@_OVERWRITE
def restore(source, output, **options):
    """Remove noise, haze, stripes, ... from images or a video of one camera."""
    if _is_video(output, source):
        from lure_jax.inference import video

        return _finish_video(video.restore_video, source, output, **options)
    from lure_jax.inference import folders

    _finish(folders.restore_files, source, output, **_of_images(options))


@main.command()
@click.option("--visible", type=_PATH, help="Image or folder.")
@click.option("--infrared", type=_PATH, help="Image or folder, registered to the visible; either one may be left out.")
@click.option("--output", required=True, type=_PATH, help="Sheet of pictures to write, or folder for STEM.png.")
@_PROMPT
@_MODEL
@_TONE
@_OVERWRITE
def explain(visible, infrared, output, **options):
    """Show where a prompt acts: maps of the text's attention and of what it changes, as one sheet of pictures."""
    from lure_jax.inference import folders

    sources = {"visible": visible, "infrared": infrared}
    _finish(folders.explain_files, {m: path for m, path in sources.items() if path}, output, **options)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 for any free one.")
@_MODEL
@click.option("--max-upload-mb", default=32.0, show_default=True, type=click.FloatRange(0.01), help="Of one request.")
@click.option("--max-megapixels", default=12.0, show_default=True, type=click.FloatRange(0.01), help="Of one image.")
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
main.add_command(cli_plan.plan)


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


def _is_video(*paths):
    """Whether any of the files is one; folders of images become one if the output is."""
    return any(path.suffix.lower() in _VIDEOS and not path.is_dir() for path in paths)


def _of_images(options):
    for name in _VIDEO_OPTIONS:
        if options.pop(name, None) is not None:
            raise Failure(f"--{name} is for videos, and the output is none of {', '.join(_VIDEOS)}.")
    return options


def _finish_video(work, *paths, **options):
    """Runs a video function; a signal that ended it early is the exit code, as shells have it."""
    options = {name: value for name, value in options.items() if name not in _VIDEO_OPTIONS or value is not None}
    try:
        summary = work(*paths, **options, tell=_warn)
    except ValueError as error:
        raise Failure(str(error)) from error
    frames = f"{summary.written} frame{'' if summary.written == 1 else 's'}"
    if not summary.stopped:
        return click.echo(f"{frames} written to {paths[-1]}")
    done = f"{paths[-1]} holds {frames} and plays" if summary.written else "nothing was written"
    click.echo(f"Stopped by {summary.stopped}: {done}.", err=True)
    raise click.exceptions.Exit(128 + signal.Signals[summary.stopped])


def _warn(sentence):
    click.echo(f"Warning: {sentence}", err=True)


def _use_compilation_cache():
    """Keeps compiled programs between runs; JAX_COMPILATION_CACHE_DIR says another place."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "lure-jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


if __name__ == "__main__":
    main()
