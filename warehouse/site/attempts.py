"""How often a response of each row is tried until it is of use, by what that is known from."""

from __future__ import annotations

from typing import Any

from joulemark.warehouse.site.contents import Contents

Key = tuple[str, str, str]
Tried = dict[str, dict[Key, tuple[float, str]]]

LIMITS = "slo"
"""Source: the share of requests that met the sweep's limits on latency."""
_SCORED = "SELECT DISTINCT task FROM quality WHERE score IS NOT NULL AND task IS NOT NULL ORDER BY task"
_ATTEMPTS = """
SELECT cell, boundary, fidelity, attempts, attempts_from FROM response_energy(1, $1, 0, 0) WHERE attempts IS NOT NULL
"""


def attempts(contents: Contents) -> Tried:
    """Return for each source (a task with scores, or `slo`) the attempts of rows and what each rests on.

    As in the view `response_energy`, a row without a score in the task has the attempts of the limits.
    """
    duckdb = contents.connection.duckdb
    tasks = [task for (task,) in duckdb.sql(_SCORED).fetchall()]
    found: Tried = {}
    for task in (LIMITS, *tasks):
        asked = None if task == LIMITS else task
        rows = duckdb.sql(_ATTEMPTS, params=[asked]).fetchall()
        if any(told == (LIMITS if task == LIMITS else "quality") for *_, told in rows):
            found[contents.redact.text(task)] = {(c, b, f): (n, told) for c, b, f, n, told in rows}
    return found


def attempts_columns(tried: Tried, key: Key) -> dict[str, Any]:
    """Return the columns of one row."""
    columns: dict[str, Any] = {}
    for source, rows in tried.items():
        number, told = rows.get(key, (None, None))
        columns |= {f"attempts: {source}": number, f"attempts from: {source}": told}
    return columns
