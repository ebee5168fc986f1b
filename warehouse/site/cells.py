"""What stands behind a row: its cell's factors and trials, good and bad."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from joulemark.warehouse.site.contents import Contents
from joulemark.warehouse.site.rows import number

Row = dict[str, Any]

_TRIAL = ("trial", "outcome", "failure_class", "error", "start", "repeat", "attempt", "nodes", "started_at", "sweep")
_RESULT = (
    *("boundary", "fidelity", "valid", "reasons", "window_s", "energy_j", "uncertainty_j", "sensor_j", "methods"),
    *("disagreement", "mean_w", "peak_w", "loaded_idle_w", "cold_idle_w", "output_tokens", "input_tokens"),
    *("requests_completed", "requests_failed", "j_per_output_token", "output_tokens_per_s"),
    *("ttft_p50_ms", "itl_p99_ms"),
)


def cell_documents(contents: Contents) -> Iterator[tuple[str, Row]]:
    """Yield (cell, document) for each cell that has a trial, in the order of their names."""
    results = _by(contents.rows("trial_results"), "trial")
    trials = _by(contents.rows("trials"), "cell")
    factors = {m["cell"]: m["factors"] for m in contents.rows("manifests")}
    for cell in sorted(trials):
        listed = sorted(trials[cell], key=lambda t: (t["started_at"], t["trial"]))
        yield (
            cell,
            {
                "cell": cell,
                "factors": json.loads(factors[cell]),
                "trials": [
                    {n: t[n] for n in _TRIAL} | {"results": [_plain(r) for r in results.get(t["trial"], [])]}
                    for t in listed
                ],
            },
        )


def failure_rows(contents: Contents) -> list[Row]:
    """Return the trials that failed or have reasons against them, the latest first."""
    return list(reversed(contents.rows("failures")))


def _plain(result: Row) -> Row:
    values = {name: result[name] for name in _RESULT}
    return {n: number(v) if isinstance(v, float) else v for n, v in values.items()}


def _by(rows: list[Row], name: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[name]].append(row)
    return found
