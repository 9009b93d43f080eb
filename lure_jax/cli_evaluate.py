"""`lure evaluate`, `lure compare`, `lure evaluate-degraded`: how good fused images and methods are."""

import pathlib

import click

from lure_jax.cli_data import Failure

_PATH = click.Path(path_type=pathlib.Path)
_VISIBLE = click.option("--visible", required=True, type=_PATH, help="Folder of visible images.")
_INFRARED = click.option("--infrared", required=True, type=_PATH, help="Folder of infrared images, matched by stem.")
_JSON = click.option("--json", "json_file", type=_PATH, help="Write all numbers there.")
_CSV = click.option("--csv", "csv_file", type=_PATH, help="Write the table there.")
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace what exists.")
_METHODS = click.argument("methods", nargs=-1, required=True, metavar="METHOD...")


@click.command()
@click.option("--fused", required=True, type=_PATH, help="Folder of fused images, matched with the sources by stem.")
@_VISIBLE
@_INFRARED
@_JSON
@_CSV
@_OVERWRITE
def evaluate(fused, visible, infrared, json_file, csv_file, overwrite):
    """Score a folder of fused images: all metrics, image by image, and their mean."""
    from lure_jax.evaluation import compare, folders, tables
    from lure_jax.evaluation.fusion import mean_scores

    try:
        folders.check_outputs([json_file, csv_file], overwrite=overwrite)
        scores, failures = compare.evaluate(fused, visible, infrared, tell=_tell)
    except ValueError as error:
        raise Failure(str(error)) from error
    if scores:
        mean = mean_scores(scores.values())
        rows = [{"image": stem, **values} for stem, values in [*scores.items(), ("mean", mean)]]
        click.echo(tables.markdown(rows, compare.DIGITS))
        _write(tables.write_json, json_file, {"mean": mean, "images": scores, "failures": failures})
        _write(folders.write_csv, csv_file, rows)
    _conclude(failures, len(scores))


@click.command("compare")
@_METHODS
@_VISIBLE
@_INFRARED
@click.option("--report", "report_dir", type=_PATH, help="Write a folder with index.html, pictures and plots there.")
@_JSON
@_CSV
@_OVERWRITE
def compare_(methods, visible, infrared, report_dir, json_file, csv_file, overwrite):
    """Compare methods on the same pairs.

    METHOD is NAME=DIR, a folder of fused images; or a baseline: average, max, laplacian, guided_filter, dwt_max,
    stretched_laplacian_max; or a model: its name, its folder or a training workdir. NAME= gives these another name.
    """
    from lure_jax.evaluation import compare, folders, report, tables

    try:
        folders.check_outputs([json_file, csv_file], overwrite=overwrite)
        if report_dir:
            report.check(report_dir, overwrite=overwrite)
        pictures = report.SHEETS if report_dir else 0
        comparison = compare.compare(visible, infrared, methods, pictures=pictures, tell=_tell)
    except ValueError as error:
        raise Failure(str(error)) from error
    if comparison.limits:
        rows = compare.table(comparison)
        click.echo(tables.markdown(compare.readable(rows)))
        _write(tables.write_json, json_file, compare.as_json(comparison, rows))
        _write(folders.write_csv, csv_file, compare.plain(rows))
        _write(report.write, report_dir, comparison, rows)
        if report_dir:
            click.echo(f"Report: {report_dir / 'index.html'}")
    _conclude(comparison.failures, len(comparison.limits))


@click.command("evaluate-degraded")
@_METHODS
@_VISIBLE
@_INFRARED
@click.option("--condition", "conditions", multiple=True, help="Such as visible/noise; several times; default all.")
@click.option("--taken", multiple=True, metavar="CONDITION=FOLDER", help="Images taken under a condition, not made so.")
@_JSON
@_CSV
@_OVERWRITE
def evaluate_degraded(methods, visible, infrared, conditions, taken, json_file, csv_file, overwrite):
    """Score methods on clean pairs made bad (noise, haze, stripes, ...), or taken when it was.

    METHOD is a baseline or a model as in `lure compare`.
    """
    from lure_jax.evaluation import degraded, folders, tables

    try:
        folders.check_outputs([json_file, csv_file], overwrite=overwrite)
        result = degraded.evaluate(visible, infrared, methods, conditions, degraded.read_taken(taken))
    except ValueError as error:
        raise Failure(str(error)) from error
    if result.pairs:
        for condition, rows in degraded.table(result).items():
            click.echo(f"## {condition}\n\n{tables.markdown(rows, degraded.DIGITS)}\n")
        rows = [{"condition": name, **row} for name, rows in degraded.table(result).items() for row in rows]
        _write(tables.write_json, json_file, degraded.as_json(result))
        _write(folders.write_csv, csv_file, rows)
    _conclude(result.failures, result.pairs)


def register(group: click.Group) -> None:
    """Adds the commands of this file."""
    for command in (evaluate, compare_, evaluate_degraded):
        group.add_command(command)


def _tell(sentence):
    click.echo(sentence, err=True)


def _write(write, path, *content):
    """Writes an output that was asked for."""
    if path is None:
        return
    try:
        write(path, *content)
    except OSError as error:
        raise Failure(f"{path} cannot be written ({error}).") from error


def _conclude(failures, judged):
    """Lists what could not be judged and leaves with exit code 2 then."""
    for failure in failures:
        click.echo(f"Error: {failure}", err=True)
    if failures:
        raise Failure(f"{len(failures)} of {len(failures) + judged} pairs failed.")
