"""The rows of the leaderboard as the page reads them: by column, words once, numbers as they are."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from joulemark.warehouse.build.cell_statistics import cell_mean
from joulemark.warehouse.build.statistics import Mean
from joulemark.warehouse.site.attempts import Tried, attempts_columns
from joulemark.warehouse.site.contents import Contents

Row = dict[str, Any]
Key = tuple[str, str, str]

DIGITS = 8
"""Significant digits of a number in the page; the tables to download have all."""
FIRST = (
    *("cell", "boundary", "fidelity", "grade", "task", "group", "model", "architecture", "total_params"),
    *("quantization", "engine", "engine_version", "accelerator", "devices", "concurrency", "load", "sweep", "node"),
    *("simulated", "j", "half", "freedom", "output_tokens_per_s", "mean_w", "loaded_idle_w", "ttft_p99_ms"),
    *("itl_p99_ms", "trials_valid", "trials_invalid", "trials_failed", "rank_best", "rank_worst", "ranked_rows"),
)
"""What the page shows at first, and filters and ranks by; it loads the other columns after it."""
FACTORS = (
    *("model", "architecture", "total_params", "active_params", "quantization", "kv_type", "engine", "engine_version"),
    *("engine_args", "accelerator", "devices", "tensor", "pipeline", "data_parallel", "expert", "spanned_nodes"),
    *("client", "power_limit_w", "concurrency", "input_lengths", "output_lengths", "arrivals", "rate_per_s"),
    *("load_fraction", "task", "load", "sweep"),
)
FIGURES = (
    *("output_tokens_per_s", "mean_w", "peak_w", "loaded_idle_w", "cold_idle_w"),
    *("ttft_p50_ms", "ttft_p99_ms", "tpot_p50_ms", "itl_p50_ms", "itl_p99_ms", "e2e_p50_ms"),
)
COUNTS = ("trials_valid", "trials_invalid", "trials_failed", "planned_trials", "starts", "nodes", "measured_s")
RANKS = ("rank_best", "rank_worst", "ranked_rows")


def leaderboard_rows(contents: Contents, tried: Tried) -> list[Row]:
    """Return one row per cell, boundary and fidelity with valid trials, in the order of the view `leaderboard`.

    ``j`` is J per output token, ``half`` the half width of the 95 % interval of its logarithm (None under 2 trials),
    ``freedom`` the degrees of freedom behind it; ``group`` are the rows that it is ranked with.
    ``tried`` are the attempts per response.
    """
    results = {_key(r): r for r in contents.rows("cell_results")}
    statistics = {_key(r): r for r in contents.rows("cell_statistics")}
    means = _means(contents)
    places = _places(contents)
    groups: dict[tuple[Any, ...], int] = {}
    rows = []
    for line in contents.rows("leaderboard"):
        key = _key(line)
        result, statistic = results[key], statistics[key]
        group = (line["boundary"], line["fidelity"], result["task"])
        rows.append(
            {name: result[name] for name in ("cell", "boundary", "fidelity", "grade", *FACTORS, *FIGURES, *COUNTS)}
            | {name: statistic[name] for name in RANKS}
            | {
                "group": groups.setdefault(group, len(groups)),
                "j": statistic["j_per_token"],
                "simulated": result["simulated"],
                "node": ", ".join(sorted(places[key])) or None,
            }
            | attempts_columns(tried, key)
            | _uncertainty(means[key], contents.redact.aliases)
        )
    return rows


def by_column(rows: list[Row]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return rows as columns, those of ``FIRST`` and the others.

    Of text, a column has the different words and each row's number in them, of numbers the list.
    """
    columns = as_columns(rows)
    return {n: columns[n] for n in FIRST}, {n: c for n, c in columns.items() if n not in FIRST}


def as_columns(rows: list[Row]) -> dict[str, Any]:
    """Return rows as columns."""
    return {name: _column([row[name] for row in rows]) for name in rows[0]}


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


def _means(contents: Contents) -> dict[Key, Mean]:
    """Return what is behind every row, as `compare` finds it."""
    trials: dict[Key, list[Row]] = defaultdict(list)
    rows = contents.connection.duckdb.sql(
        "FROM trial_results SELECT cell, boundary, fidelity, nodes, start, j_per_output_token AS j "
        "WHERE valid AND j_per_output_token > 0 ORDER BY trial"
    )
    for row in rows.to_arrow_table().to_pylist():
        trials[_key(row)].append(row)
    return {key: cell_mean(valid) for key, valid in trials.items()}


def _places(contents: Contents) -> dict[Key, set[str]]:
    found: dict[Key, set[str]] = defaultdict(set)
    for row in contents.rows("node_results"):
        found[_key(row)].update(row["nodes"])
    return found


def _uncertainty(mean: Mean, aliases: dict[str, str]) -> Row:
    """Return what the page tests with; ``places`` are the sets of nodes, where there are several."""
    half = None
    if mean.interval is not None:
        half = math.log(mean.interval[1] / mean.interval[0]) / 2
    places = sorted(" + ".join(aliases.get(n, n) for n in nodes) for nodes in mean.nodes)
    error, freedom = mean.within or (None, None)
    return {
        "half": half,
        "freedom": mean.freedom,
        "places": ", ".join(places) if len(places) > 1 else None,
        "within_error": error,
        "within_freedom": freedom,
    }
