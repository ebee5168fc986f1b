"""The rows of the leaderboard as the page reads them: by column, words once, numbers as they are."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from joulemark.warehouse.build.cell_statistics import cluster
from joulemark.warehouse.build.statistics import mean_of_logs
from joulemark.warehouse.site.contents import Contents

Row = dict[str, Any]
Key = tuple[str, str, str]

DIGITS = 9
"""Significant digits of a number in the page; the tables to download have all."""
FACTORS = (
    *("model", "architecture", "total_params", "active_params", "quantization", "kv_type", "engine", "engine_version"),
    *("engine_args", "accelerator", "devices", "tensor", "pipeline", "data_parallel", "expert", "power_limit_w"),
    *("concurrency", "input_lengths", "output_lengths", "arrivals", "rate_per_s", "load_fraction", "sweep"),
)
FIGURES = (
    *("output_tokens_per_s", "mean_w", "peak_w", "loaded_idle_w", "cold_idle_w"),
    *("ttft_p50_ms", "ttft_p99_ms", "tpot_p50_ms", "itl_p50_ms", "itl_p99_ms", "e2e_p50_ms"),
)
COUNTS = ("trials_valid", "trials_invalid", "trials_failed", "planned_trials", "starts", "nodes", "measured_s")
RANKS = ("rank_best", "rank_worst", "ranked_rows")


def leaderboard_rows(contents: Contents) -> list[Row]:
    """Return one row per cell, boundary and fidelity with valid trials, in the order of the view `leaderboard`.

    ``j``, ``j_low`` and ``j_high`` are J per output token; ``log_error`` and ``freedom`` are the standard error of its
    logarithm and that one's degrees of freedom; ``group`` are the rows that it is ranked with.
    """
    results = {_key(r): r for r in contents.rows("cell_results")}
    statistics = {_key(r): r for r in contents.rows("cell_statistics")}
    errors = _errors(contents)
    groups: dict[tuple[Any, ...], int] = {}
    rows = []
    for line in contents.rows("leaderboard"):
        key = _key(line)
        result, statistic = results[key], statistics[key]
        group = (line["boundary"], line["fidelity"], task(result))
        rows.append(
            {name: result[name] for name in ("cell", "boundary", "fidelity", "grade", *FACTORS, *FIGURES, *COUNTS)}
            | {name: statistic[name] for name in RANKS}
            | {
                "task": task(result),
                "group": groups.setdefault(group, len(groups)),
                "j": statistic["j_per_token"],
                "j_low": statistic["j_per_token_low"],
                "j_high": statistic["j_per_token_high"],
                "log_error": errors[key][0],
                "freedom": errors[key][1],
                "simulated": result["simulated"],
            }
        )
    return rows


def task(result: Row) -> str:
    """Return what each request asks, in words."""
    if result.get("task") is not None:
        return str(result["task"])
    return f"{result['input_lengths']} tokens in, {result['output_lengths']} out"


def by_column(rows: list[Row]) -> dict[str, Any]:
    """Return rows as columns: of text the different words and each row's number in them, of numbers the list."""
    names = list(rows[0]) if rows else []
    return {name: _column([row[name] for row in rows]) for name in names}


def number(value: float | None) -> float | int | None:
    """Return a number with as many digits as the page has; None for what is none."""
    if value is None or isinstance(value, int):
        return value
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short


def _column(values: list[Any]) -> Any:
    if any(isinstance(v, str) for v in values):
        words = sorted({v for v in values if v is not None})
        places = {word: i for i, word in enumerate(words)}
        return {"words": words, "codes": [None if v is None else places[v] for v in values]}
    return [number(v) for v in values]


def _key(row: Row) -> Key:
    return row["cell"], row["boundary"], row["fidelity"]


def _errors(contents: Contents) -> dict[Key, tuple[float | None, int]]:
    """Return standard error and degrees of freedom behind every row, as `compare` finds them."""
    trials: dict[Key, list[Row]] = defaultdict(list)
    rows = contents.connection.duckdb.sql(
        "FROM trial_results SELECT cell, boundary, fidelity, nodes, start, j_per_output_token AS j "
        "WHERE valid AND j_per_output_token > 0 ORDER BY trial"
    )
    for row in rows.to_arrow_table().to_pylist():
        trials[_key(row)].append(row)
    means = {k: mean_of_logs([t["j"] for t in v], [cluster(t) for t in v]) for k, v in trials.items()}
    return {k: (m.error, m.freedom) for k, m in means.items()}
