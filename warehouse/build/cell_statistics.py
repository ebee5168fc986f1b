"""What is computed over all valid trials in the view `trial_results`: statistics, levers, nodes and drift."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import duckdb

from joulemark.warehouse.build.drift import drift
from joulemark.warehouse.build.levers import lever_rows
from joulemark.warehouse.build.node_differences import node_difference
from joulemark.warehouse.build.statistics import Mean, mean_of_logs, rank_ranges

Row = dict[str, Any]
Measured = tuple[list[Row], Mean]
GROUP = ("boundary", "fidelity", "task")
"""Cells with the same of these are ranked together."""

VALID_TRIALS = """
SELECT r.cell, r.boundary, r.fidelity, r.nodes, r.start, r.j_per_output_token AS j,
  r.sensor_j / r.energy_j AS sensor, r.sweep, epoch(r.started_at) AS started_s, t.task, m.factors
FROM trial_results AS r
JOIN trials AS t ON t.trial = r.trial
JOIN manifests AS m ON m.trial = r.trial AND m.duplicate_of IS NULL
WHERE r.valid AND r.j_per_output_token > 0
ORDER BY r.trial
"""


def statistics_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, list[Row]]:
    """Return the rows of `cell_statistics`, `lever_effects`, `node_differences` and `sweep_drift`.

    Statistics have one row per cell, boundary and fidelity with valid trials, ranked within its comparable group.
    """
    cells: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for trial in connection.sql(VALID_TRIALS).to_arrow_table().to_pylist():
        cells[trial["cell"], trial["boundary"], trial["fidelity"]].append(trial)
    measured = [(trials, cell_mean(trials)) for trials in cells.values()]
    groups: dict[tuple[Any, ...], list[Measured]] = defaultdict(list)
    for trials, mean in measured:
        groups[tuple(trials[0][name] for name in GROUP)].append((trials, mean))
    differences = [(trials[0], node_difference(trials)) for trials, _ in measured]
    sweeps: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for trials, _ in measured:
        for trial in trials:
            sweeps[trial["sweep"], trial["boundary"], trial["fidelity"]].append(trial)
    drifts = [(trials[0], drift(trials)) for trials in sweeps.values()]
    return {
        "cell_statistics": [row for group in groups.values() for row in _group_rows(group)],
        "lever_effects": lever_rows((t[0], json.loads(t[0]["factors"]), mean) for t, mean in measured),
        "node_differences": [_place(trial) | found for trial, found in differences if found is not None],
        "sweep_drift": [
            {name: trial[name] for name in ("sweep", "boundary", "fidelity")} | found
            for trial, found in drifts
            if found is not None
        ],
    }


def cell_mean(trials: list[Row]) -> Mean:
    """Return the mean over the trials of one cell, each with ``j``, ``start`` and ``nodes``."""
    return mean_of_logs([t["j"] for t in trials], [t["start"] for t in trials], [tuple(t["nodes"]) for t in trials])


def _place(trial: Row) -> Row:
    return {name: trial[name] for name in ("cell", "boundary", "fidelity")}


def _group_rows(group: list[Measured]) -> list[Row]:
    rows = []
    for (trials, mean), (best, worst) in zip(group, rank_ranges([m for _, m in group]), strict=True):
        low, high = mean.interval or (None, None)
        rows.append(
            _place(trials[0])
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
