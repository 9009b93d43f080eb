"""`lure data`: data sets built, listed, checked, aligned, counted and packed."""

import contextlib
import pathlib
import runpy
import sys

import click

from lure_jax.errors import UserError

_PATH = click.Path(path_type=pathlib.Path)
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace what exists.")


class Failure(click.ClickException):
    """Something the user can put right: one sentence, no traceback."""

    exit_code = 2


@click.group()
def data():
    """Data sets for training."""


@data.command()
@click.argument("name")
@click.option("--source", type=_PATH, help="Folder with the downloaded files; not needed for synthetic_scenes.")
@click.option("--data-dir", required=True, type=_PATH, help="Folder of built data sets.")
@click.option("--save-as", help="Name in --data-dir; default NAME.")
@click.option("--modality", type=click.Choice(["visible", "infrared"]), help="Of a restoration set's images.")
@click.option("--condition", help="What a restoration set's degraded images suffer from.")
@click.option("--files", multiple=True, help="ROLE=PATTERN where files are named otherwise; see docs/data.md.")
@click.option("--tone", default="percentile", show_default=True, help="Above 8 bits: percentile, plateau or LOW:HIGH.")
@_OVERWRITE
def build(name, files, source, **options):
    """Build the data set NAME (see `lure data list`); synthetic_scenes are rendered."""
    from lure_jax.data import catalog, sources

    with _one_sentence():
        if name.split("/")[0] == "synthetic_scenes":
            summary = sources.render(name, options["data_dir"])
        elif source is None:
            raise UserError(f"{name} is built from files: give --source, their folder; `lure data list` says which.")
        else:
            summary = catalog.build(name, source, files=_patterns(files), **options)
    counts = ", ".join(f"{count} {split}" for split, count in summary.counts.items())
    click.echo(f"{summary.name}: {counts} in {summary.path}")


@data.command("list")
def list_():
    """List the data sets that `lure data build` knows: a table, then where to get each."""
    from lure_jax.data import catalog

    entries = catalog.listing()
    width = max(len(entry.name) for entry in entries)
    click.echo(f"{'NAME':{width}}  {'BUILDER':11}  {'VERIFIED':8}  CONTENT")
    for name, builder, row in entries:
        click.echo(f"{name:{width}}  {builder:11}  {'yes' if row.verified else 'no':8}  {row.description}")
    click.echo("Rendered, without files: synthetic_scenes (default), synthetic_scenes/large, synthetic_scenes/debug.")
    click.echo("Verified: built from real files; the others follow their publication and are tested on tiny folders.")
    for name, _, row in entries:
        facts = (f"licence: {row.licence}", row.homepage, row.citation)
        click.echo(f"\n{name}: {row.download}\n  {'; '.join(filter(None, facts))}")


_VISIBLE = click.option("--visible", required=True, type=_PATH, help="Folder of visible images.")
_INFRARED = click.option("--infrared", required=True, type=_PATH, help="Folder of infrared images of the same stems.")


@data.command()
@_VISIBLE
@_INFRARED
@click.option("--sample", default=40, show_default=True, help="Pairs whose alignment is estimated; 0 for none.")
@click.option("--worst", type=_PATH, help="Picture to write of the worst aligned pairs.")
def check(visible, infrared, sample, worst):
    """Look for what is wrong with your own pairs: partners, sizes, frames, duplicates, alignment."""
    from lure_jax.data import own_pairs

    with _one_sentence():
        report = own_pairs.check(visible, infrared, sample=sample, tell=_progress)
    click.echo(f"{report.pairs} pairs; {len(report.unpaired)} files without a partner")
    for modality, kinds in report.kinds.items():
        most = sorted(kinds.items(), key=lambda item: -item[1])[:4]
        more = f", and {len(kinds) - 4} other kinds" if len(kinds) > 4 else ""
        click.echo(f"{modality}: " + ", ".join(f"{count} of {kind}" for kind, count in most) + more)
    _list("without a partner", report.unpaired)
    _list("not usable", report.bad)
    _list("nearly the same", [f"{a} and {b}" for a, b in report.duplicates])
    _list("nearly the same, but in two splits (group them by scene)", [f"{a} and {b}" for a, b in report.leaks])
    if not report.registrations:
        return
    away = report.misalignment()
    doubtful = [stem for stem in report.registrations if stem not in away]
    click.echo(f"shift of {len(away)} pairs in visible pixels (a similarity was estimated):")
    for low, high in zip(own_pairs.EDGES, own_pairs.EDGES[1:], strict=False):
        count = sum(low <= shift < high for shift in away.values())
        click.echo(f"  {low:>4g} to {high:<4g} {count:4d} {'#' * round(40 * count / max(1, len(away)))}")
    scales = sorted(report.registrations[stem].pose.scale for stem in away)
    if scales:
        click.echo(f"scale: median {scales[len(scales) // 2]:.3f}, {scales[0]:.3f} to {scales[-1]:.3f}")
    _list("could not be registered", doubtful)
    sheet = own_pairs.worst_sheet(report, visible, infrared) if worst else None
    if sheet:
        sheet.save(worst)
        click.echo(f"the worst aligned pairs are in {worst}")


@data.command()
@_VISIBLE
@_INFRARED
@click.option("--output", required=True, type=_PATH, help="Folder to make: visible, infrared, transforms.json.")
@_OVERWRITE
def align(visible, infrared, output, overwrite):
    """Register infrared images to visible ones and crop both to what they share."""
    from lure_jax.data import own_pairs

    with _one_sentence():
        told = own_pairs.align(visible, infrared, output, overwrite=overwrite, tell=_progress)
    failed = {stem: facts["reason"] for stem, facts in told.items() if facts["status"] == "failed"}
    click.echo(f"{len(told) - len(failed)} pairs written to {output}")
    if failed:
        _list("not written", [f"{stem}: {reason}" for stem, reason in failed.items()])
        raise Failure(f"{len(failed)} of {len(told)} pairs were not aligned; {output}/transforms.json says why.")


_CONFIG = click.option("--config", required=True, help="The recipe, configs/NAME.py or configs/NAME.py:ARGUMENT.")
_DATA_DIR = click.option("--data-dir", type=_PATH, help="Folder of built data sets; default the recipe's.")


@data.command()
@_CONFIG
@_DATA_DIR
def stats(config, data_dir):
    """Print what a recipe draws, per condition and source."""
    from lure_jax.data import mixture

    with _one_sentence():
        recipe = _recipe(config, data_dir)
        lines = mixture.stats(recipe)
    for pool in dict.fromkeys(line.pool for line in lines):
        click.echo(f"{pool} pool")
        for line in (line for line in lines if line.pool == pool):
            source = f"{line.dataset}{' (real pairs)' if line.real else ''}, {line.images} images"
            click.echo(f"  {line.share:6.1%}  {line.modality:8} {line.condition:14} {source}")
    drawn = recipe.data
    click.echo(f"of the synthetic samples {drawn.two_conditions:.0%} get a second condition if one fits; "
               f"{drawn.wrong_prompt:.0%} of the restoration pool get a wrong prompt, "
               f"{drawn.grey_share:.0%} of its visible images lose their colour; "
               f"{drawn.tone_share:.0%} of the images without colour and of pairs get another camera's tone; "
               f"{drawn.degraded_share:.0%} of the fusion pool are degraded.")  # fmt: skip


@data.command()
@_CONFIG
@_DATA_DIR
@click.option("--max-mb", type=click.FloatRange(min=0, min_open=True), required=True, help="Megabytes of images.")
@click.argument("output", type=_PATH)
def pack(config, data_dir, max_mb, output):
    """Write a recipe's training images as crops to OUTPUT, to be carried to another machine."""
    from lure_jax.data import mixture

    with _one_sentence():
        packed = mixture.pack(_recipe(config, data_dir), output, max_mb)
    for name, crops, megabytes in packed:
        click.echo(f"{name}: {crops} crops, {megabytes:.1f} MB")
    click.echo(f"train there with --config.data.data_dir={output}")


def _recipe(config: str, data_dir: pathlib.Path | None):
    """The recipe of a config file, as train.py reads it."""
    path, _, argument = config.partition(":")
    if not pathlib.Path(path).is_file():
        raise UserError(f"Config {path} does not exist.")
    sys.path.insert(0, str(pathlib.Path(path).resolve().parent.parent))  # for `from configs import common`
    try:
        recipe = runpy.run_path(path)["get_config"](*filter(None, [argument]))
    finally:
        del sys.path[0]
    if data_dir:
        recipe.data.data_dir = str(data_dir)
    return recipe


@data.command()
@click.argument("output", type=_PATH)
def gallery(output):
    """Write a picture of every degradation, weak to strong, on rendered scenes, to the folder OUTPUT."""
    from lure_jax.data import gallery

    for path in gallery.write(output):
        click.echo(path)


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{line:70}", nl=False, err=True)


def _list(title: str, lines: list[str], most: int = 10) -> None:
    """At most `most` findings of a kind, and how many more there are."""
    if lines:
        click.echo(f"{title}: {len(lines)}")
        for line in lines[:most]:
            click.echo(f"  {line}")
        if len(lines) > most:
            click.echo(f"  and {len(lines) - most} more")


@contextlib.contextmanager
def _one_sentence():
    """Errors that the user can put right, told without a traceback."""
    try:
        yield
    except UserError as error:
        raise Failure(str(error)) from error


def _patterns(files: tuple[str, ...]) -> dict[str, str]:
    for pair in files:
        if "=" not in pair:
            raise Failure(f"--files {pair} is not ROLE=PATTERN, such as visible=vis/{{stem}}.png.")
    return dict(pair.split("=", 1) for pair in files)
