"""What the warehouse has already: valid trials, used attempt numbers, the verdict on a trial just committed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from joulemark.warehouse.store.location import Warehouse

TrialKey = tuple[str, int, int]
"""Cell, start, repeat."""


@dataclass(frozen=True)
class Have:
    """``valid`` trials need not be run again; ``attempts`` is the first free attempt number of each key."""

    valid: frozenset[TrialKey]
    attempts: dict[TrialKey, int]
    warnings: tuple[str, ...] = ()


def have(warehouse: Warehouse, cells: Collection[str]) -> Have:
    """Return what is there of these cells. A warehouse that does not exist yet has nothing."""
    if not warehouse.exists("trials"):
        return Have(frozenset(), {})
    # DuckDB takes a while to load, and most commands do without it.
    from joulemark.warehouse.query.open import open_warehouse

    with open_warehouse(warehouse) as connection:
        valid = connection.sql("SELECT DISTINCT cell, start, repeat FROM trial_results WHERE valid").to_pylist()
        used = connection.sql(
            "SELECT cell, start, repeat, max(attempt) + 1 AS free FROM trials GROUP BY ALL"
        ).to_pylist()
        return Have(
            frozenset(_key(r) for r in valid if r["cell"] in cells),
            {_key(r): r["free"] for r in used if r["cell"] in cells},
            connection.warnings,
        )


def verdict(warehouse: Warehouse, trial: str) -> tuple[str, ...]:
    """Return the reasons against a committed trial in the boundary that it supports best; none where it is valid.

    Raises DiskFull or WarehouseError where its figures cannot be written: that says nothing about the trial.
    """
    from joulemark.warehouse.build.build import build
    from joulemark.warehouse.query.open import open_snapshot

    # Only what this trial needs is looked at: a warehouse of many trials costs no more than a small one.
    with open_snapshot(build(warehouse, only=(trial,)).snapshot) as connection:
        rows = connection.sql(
            f"SELECT reasons FROM trial_results WHERE trial = '{trial}' ORDER BY len(reasons) LIMIT 1"  # noqa: S608 -- an id of ours: hex digits and dashes
        ).to_pylist()
    return tuple(rows[0]["reasons"]) if rows else ("no_power",)


def _key(row: dict[str, Any]) -> TrialKey:
    return row["cell"], row["start"], row["repeat"]
