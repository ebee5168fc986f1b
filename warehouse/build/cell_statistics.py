"""Rows of `cell_statistics`, from the valid trials in the view `trial_results`."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import duckdb

from joulemark.warehouse.build.statistics import mean_of_logs, rank_ranges

Row = dict[str, Any]

VALID_TRIALS = """
SELECT r.cell, r.boundary, r.fidelity, r.nodes, r.start, r.j_per_output_token AS j, t.task
FROM trial_results AS r
JOIN trials AS t ON t.trial = r.trial
WHERE r.valid AND r.j_per_output_token > 0
ORDER BY r.trial
"""


def cell_statistics_rows(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """Return one row per cell, boundary and fidelity with valid trials, ranked within its comparable group."""
    cells: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for trial in connection.sql(VALID_TRIALS).to_arrow_table().to_pylist():
        cells[trial["cell"], trial["boundary"], trial["fidelity"]].append(trial)
    groups: dict[tuple[Any, ...], list[list[Row]]] = defaultdict(list)
    for (_, boundary, fidelity), trials in cells.items():
        groups[boundary, fidelity, trials[0]["task"]].append(trials)
    return [row for group in groups.values() for row in _group_rows(group)]


def cluster(trial: Row) -> tuple[Any, ...]:
    """Return what the trials of one engine start on one set of nodes have in common."""
    return (*trial["nodes"], trial["start"])


def _group_rows(group: list[list[Row]]) -> list[Row]:
    means = [mean_of_logs([t["j"] for t in trials], [cluster(t) for t in trials]) for trials in group]
    rows = []
    for trials, mean, (best, worst) in zip(group, means, rank_ranges(means), strict=True):
        low, high = mean.interval or (None, None)
        rows.append(
            {name: trials[0][name] for name in ("cell", "boundary", "fidelity")}
            | {
                "trials": mean.trials,
                "starts": mean.clusters,
                "nodes": len({tuple(t["nodes"]) for t in trials}),
                "j_per_token": mean.value,
                "j_per_token_low": low,
                "j_per_token_high": high,
                "rank_best": best,
                "rank_worst": worst,
                "ranked_rows": len(group),
            }
        )
    return rows
