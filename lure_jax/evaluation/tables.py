"""Tables of numbers: Markdown to read, JSON to keep."""

import json
import os
import pathlib
import uuid
from collections.abc import Mapping, Sequence
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
