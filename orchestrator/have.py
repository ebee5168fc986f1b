"""What the warehouse has already: valid trials and where they ran, used attempt numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from joulemark.orchestrator.plan import TrialKey
from joulemark.warehouse.store.location import Warehouse

AttemptKey = tuple[TrialKey, str]
"""A trial on a node."""


@dataclass(frozen=True)
class Have:
    """``valid`` are the nodes on which a trial is valid; ``attempts`` its first free attempt number on a node."""

    valid: Mapping[TrialKey, frozenset[str]] = field(default_factory=dict)
    attempts: dict[AttemptKey, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def have(warehouse: Warehouse, cells: Collection[str]) -> Have:
    """Return what is there of these cells. A warehouse that does not exist yet has nothing."""
    if not warehouse.exists("trials"):
        return Have()
    # DuckDB takes a while to load, and most commands do without it.
    from joulemark.warehouse.query.open import open_warehouse

    with open_warehouse(warehouse) as connection:
        valid = connection.sql(
            "SELECT cell, start, repeat, list(DISTINCT nodes[1]) AS nodes FROM trial_results WHERE valid GROUP BY ALL"
        ).to_pylist()
        used = connection.sql(
            "SELECT cell, start, repeat, nodes[1] AS node, max(attempt) + 1 AS free FROM trials GROUP BY ALL"
        ).to_pylist()
        return Have(
            {_key(r): frozenset(r["nodes"]) for r in valid if r["cell"] in cells},
            {(_key(r), r["node"]): r["free"] for r in used if r["cell"] in cells},
            connection.warnings,
        )


def _key(row: dict[str, Any]) -> TrialKey:
    return row["cell"], row["start"], row["repeat"]
