"""joulemark: what a token costs, in joules and in dollars."""

from __future__ import annotations

__version__ = "0.1.0"

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from joulemark.warehouse.query.open import Connection


def open(  # noqa: A001 -- as joulemark.open
    place: str | Path, *, timeout_s: float | None = None, memory_bytes: int | None = None
) -> Connection:
    """Open the warehouse at a path or URL: ``joulemark.open("joulemark-warehouse").sql("from leaderboard")``.

    A query ends with an error when it needs more time or memory than it may (default: no limit, half of main memory).
    """
    from joulemark.warehouse.query.open import open_warehouse

    return open_warehouse(place, timeout_s=timeout_s, memory_bytes=memory_bytes)
