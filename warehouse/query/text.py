"""Columns of text, aligned: with rules on a terminal, plain where they are piped."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PADDING = 2


@dataclass(frozen=True)
class Column:
    """One column as text; ``right`` aligns it as numbers. ``rank`` 0 is always shown, the highest is left out first."""

    name: str
    values: list[str]
    right: bool = False
    rank: int = 0

    @cached_property
    def width(self) -> int:
        """Characters of its longest value or its name; asked for once per cell, so found once."""
        return max([len(self.name), *(len(v) for v in self.values)])


def fitted(columns: Sequence[Column], width: int | None) -> list[Column]:
    """Return the leading columns that fit into ``width`` characters, at least one; all where there is no width."""
    kept: list[Column] = []
    used = 0
    for column in columns:
        used += column.width + PADDING
        if kept and width is not None and used - PADDING > width:
            break
        kept.append(column)
    return kept


def fitted_by_rank(columns: Sequence[Column], width: int | None) -> list[Column]:
    """Return the columns without as many of the highest ranks as are needed to fit; rank 0 always stays."""
    kept = list(columns)
    while width is not None and sum(c.width + PADDING for c in kept) - PADDING > width:
        least = max(kept, key=lambda c: c.rank)
        if least.rank == 0:
            break
        kept.remove(least)
    return kept


def lines(columns: Sequence[Column], width: int | None) -> list[str]:
    """Return header and rows as lines; cells that are too wide for a terminal are folded."""
    rows = list(zip(*(c.values for c in columns), strict=True))
    if width is None:
        return [_plain(columns, [c.name for c in columns]), *(_plain(columns, row) for row in rows)]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, PADDING - 1, 0, 0))
    for column in columns:
        table.add_column(column.name, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None, legacy_windows=False).print(table)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def _plain(columns: Sequence[Column], values: Sequence[str]) -> str:
    cells = (v.rjust(c.width) if c.right else v.ljust(c.width) for c, v in zip(columns, values, strict=True))
    return (" " * PADDING).join(cells).rstrip()
