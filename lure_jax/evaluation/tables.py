"""Tables of numbers: Markdown to read, JSON to keep."""

import json
import os
import pathlib
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Row = Mapping[str, Any]


def markdown(rows: Sequence[Row], digits: Mapping[str, int] | int = 2) -> str:
    """A Markdown table with the columns of all rows, in order of appearance.

    Args:
      rows: column -> text, number, truth value or None (an empty cell).
      digits: after the point, for all columns or by column (2 where left out).

    Returns:
      Lines without a final newline; numbers aligned to the right.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    numeric = [any(_is_number(row.get(column)) for row in rows) for column in columns]
    places = {c: digits if isinstance(digits, int) else digits.get(c, 2) for c in columns}
    lines = [columns, ["--:" if right else "---" for right in numeric]]
    lines += [[_cell(row.get(column), places[column]) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bar(what: str, value: float, at_least: float) -> dict[str, Any]:
    """One row of a table of demands: what is measured, its value, the least it has to be, and whether it is."""
    return {"what": what, "value": float(value), "at least": at_least, "met": bool(value >= at_least)}


def write_json(path: os.PathLike, tables: Mapping[str, Any]) -> None:
    """Writes tables under a temporary name and renames; numpy numbers become plain ones, NaN null."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.parent / f".{path.stem}-{uuid.uuid4().hex[:8]}.json"
    draft.write_text(json.dumps(_plain(tables), indent=2, allow_nan=False) + "\n")
    draft.replace(path)


def resumed(path: os.PathLike, keys: Iterable[Row], measure: Callable[..., Row]) -> list[dict[str, Any]]:
    """Rows of a long measurement, kept in a file, each as soon as it is there; those found there are not made again.

    Args:
      path: of the JSON file, `rows` in it.
      keys: what names each row that is wanted.
      measure: key as keyword arguments -> what the row says beside its key.

    Returns:
      All rows of the file, those of other keys too.
    """
    path = pathlib.Path(path)
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    for key in keys:
        if not any(key.items() <= row.items() for row in rows):
            rows.append({**key, **measure(**key)})
            write_json(path, {"rows": rows})
    return rows


def print_each(
    makers: Mapping[str, Callable[[Mapping[str, Any]], Sequence[Row]]], note: str, digits: Mapping[str, int] | int = 2
) -> dict[str, Sequence[Row]]:
    """Makes tables one after another and prints each under its name, with the seconds it took.

    Args:
      makers: name -> what makes the table of the tables before it.
      note: what stands behind each name.
      digits: as of `markdown`.

    Returns:
      Name -> table.
    """
    results = {}
    for name, make in makers.items():
        start = time.perf_counter()
        results[name] = make(results)
        print(f"## {name} ({note}, {time.perf_counter() - start:.0f} s)\n")
        print(markdown(results[name], digits), "\n", flush=True)
    return results


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _cell(value: Any, digits: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "**no**"
    if isinstance(value, float | np.floating):
        return f"{value:.{digits}f}"
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
