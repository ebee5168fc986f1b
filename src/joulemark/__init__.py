"""joulemark: what a token costs, in joules and in dollars."""

from __future__ import annotations

__version__ = "0.1.0"

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from joulemark.warehouse.query.open import Connection


def open(place: str | Path) -> Connection:  # noqa: A001 -- as joulemark.open
    """Open the warehouse at a path or URL: ``joulemark.open("joulemark-warehouse").sql("from leaderboard")``."""
    from joulemark.warehouse.query.open import open_warehouse

    return open_warehouse(place)
