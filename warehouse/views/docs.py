"""What the comments at the head of each view say."""

from __future__ import annotations

import re
from dataclasses import dataclass

from joulemark.warehouse.views import ORDER, view_text

_COLUMN = re.compile(r"(\w+): (.+?)(?: \[([^\]]+)\])?")


@dataclass(frozen=True)
class ViewColumn:
    """One output column; ``unit`` is empty where it has none."""

    name: str
    meaning: str
    unit: str


@dataclass(frozen=True)
class ViewDoc:
    """One view or macro: ``call`` and ``example`` are empty for a view."""

    name: str
    text: str
    call: str
    example: str
    columns: tuple[ViewColumn, ...]


def all_docs() -> list[ViewDoc]:
    """Return what the views say of themselves, in their order."""
    return [view_doc(name) for name in ORDER]


def view_doc(name: str) -> ViewDoc:
    """Return what the comments of a view say. Raises ValueError where they do not keep to the form."""
    lines = [line.removeprefix("--").strip() for line in _head(view_text(name))]
    if "" not in lines:
        raise ValueError(f"{name}.sql: an empty comment line must divide the description from the columns")
    divide = lines.index("")
    said = {"Macro": "", "Example": ""}
    text = []
    for line in lines[:divide]:
        key, _, rest = line.partition(": ")
        if key in said:
            said[key] = rest
        else:
            text.append(line)
    return ViewDoc(
        name, " ".join(text), said["Macro"], said["Example"], tuple(_column(name, c) for c in lines[divide + 1 :])
    )


def _head(sql: str) -> list[str]:
    lines = sql.splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("--"))
    return lines[:end]


def _column(name: str, line: str) -> ViewColumn:
    match = _COLUMN.fullmatch(line)
    if match is None:
        raise ValueError(f"{name}.sql: {line!r} is not `column: meaning [unit]`")
    return ViewColumn(match[1], match[2], match[3] or "")
