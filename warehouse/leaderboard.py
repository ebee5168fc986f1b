"""The leaderboard as text: groups of comparable rows, each with what its numbers are, and what was left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from joulemark.warehouse.query.open import Connection
from joulemark.warehouse.query.text import Column, fitted_by_rank, lines
from joulemark.warehouse.schema.reasons import BOUNDARIES, FIDELITIES, GRADES
from joulemark.warehouse.schema.trial import FOR_TESTS

Row = dict[str, Any]

GROUP = ("boundary", "fidelity", "task")
FACTORS = (
    "model",
    "quantization",
    "kv_type",
    "engine",
    "engine_version",
    "accelerator",
    "devices",
    "tensor",
    "expert",
    "spanned_nodes",
    "client",
)
FACTORS_AFTER = ("load",)
TITLES = {"quantization": "precision", "engine_version": "version", "kv_type": "KV"}


@dataclass(frozen=True)
class Leaderboard:
    """Its rows (the view `leaderboard`), and how many trials are not behind them."""

    rows: pa.Table
    failed: int
    invalid: int
    for_tests: frozenset[str] = frozenset()
    """Cells of engines that were put together for tests."""


def read(connection: Connection, *, sweep: str | None = None) -> Leaderboard:
    """Return the leaderboard of the whole warehouse, or without the cells that a sweep has no trial of.

    Ranks always are those among all comparable rows. Raises QueryError where records cannot be read.
    """
    rows = connection.sql("FROM leaderboard")
    failures = connection.sql("FROM failures SELECT cell, sweep, outcome")
    if sweep is not None:
        trials = connection.sql("FROM trials SELECT DISTINCT cell, sweep").to_pylist()
        cells = {t["cell"] for t in trials if t["sweep"] == sweep}
        rows = rows.filter(pa.array([c in cells for c in rows["cell"].to_pylist()], pa.bool_()))
        failures = failures.filter(pa.array([c in cells for c in failures["cell"].to_pylist()], pa.bool_()))
    outcomes = failures["outcome"].to_pylist()
    sets = f"FROM manifests SELECT DISTINCT cell WHERE engine::JSON ->> '$.requirement_set' LIKE '{FOR_TESTS}'"
    for_tests = frozenset(connection.sql(sets)["cell"].to_pylist())
    return Leaderboard(rows, outcomes.count("failed"), outcomes.count("invalid"), for_tests)


def render(leaderboard: Leaderboard, *, width: int | None = None) -> str:
    """Return the text; ``width`` is that of the terminal, None where it is piped."""
    rows = leaderboard.rows.to_pylist()
    out: list[str] = []
    for _, group in groupby(rows, key=lambda r: tuple(r[k] for k in GROUP)):
        out += [*_group(list(group), width, leaderboard.for_tests), ""]
    if not rows:
        out += ["no cell has a valid trial yet", ""]
    out += _left_out(leaderboard)
    return "\n".join(out).rstrip() + "\n"


def _group(rows: list[Row], width: int | None, for_tests: frozenset[str]) -> list[str]:
    first = rows[0]
    boundary, fidelity = first["boundary"], first["fidelity"]
    same = [f for f in (*FACTORS, *FACTORS_AFTER) if len({r[f] for r in rows}) == 1 and f != "model"]
    common = "  ".join(f"{TITLES.get(f, f)} {first[f]}" for f in same if f not in _TRIVIAL or first[f] != _TRIVIAL[f])
    head = [
        f"energy per output token, boundary {boundary}, fidelity {fidelity}: {first['task']}",
        f"  {boundary}: {BOUNDARIES[boundary]}",
        f"  {fidelity}: {FIDELITIES[fidelity]}",
        f"  same in all rows: {common}" if common else "",
    ]
    columns = fitted_by_rank(_columns(rows, same), width)
    notes = [f"  {g}: {GRADES[g]}" for g in GRADES if any(r["grade"] == g for r in rows)]
    if any(r["j_per_token_low"] is None for r in rows):
        notes.append("  a row with one trial has no interval and is told apart from none")
    if first["ranked_rows"] > 1:
        notes.append("  rank: 1 + rows significantly better, to rows less those significantly worse (Holm, 5 %)")
    odd = sorted({f"{r['engine']} {r['engine_version']}" for r in rows if r["cell"] in for_tests})
    notes += [f"  {name} here is put together to test how it is run: its figures mean nothing" for name in odd]
    return [*(h for h in head if h), "", *lines(columns, width), *notes]


_TRIVIAL: Row = {"devices": 0, "tensor": 1, "expert": False, "spanned_nodes": 1, "client": "beside", "kv_type": None}
"""Values not worth a mention where all rows have them."""


def _columns(rows: list[Row], same: list[str]) -> list[Column]:
    def column(title: str, show: Callable[[Row], str], rank: int = 0, *, right: bool = True) -> Column:
        return Column(title, [show(r) for r in rows], right=right, rank=rank)

    def factor(name: str) -> Column:
        return column(TITLES.get(name, name), lambda r: _text(r[name]), right=isinstance(rows[0][name], int))

    return [
        column("rank", lambda r: r["rank"]),
        *(factor(f) for f in FACTORS if f not in same),
        *(factor(f) for f in FACTORS_AFTER if f not in same),
        column("J/token", lambda r: _number(r["j_per_token"])),
        column("95 %", _interval, right=False),
        column("tokens/J", lambda r: _number(r["tokens_per_joule"]), 2),
        column("tokens/s", lambda r: _number(r["tokens_per_s"]), 1),
        column("W", lambda r: _number(r["mean_w"]), 1),
        column("TTFT p50 ms", lambda r: _number(r["ttft_p50_ms"]), 4),
        column("ITL p99 ms", lambda r: _number(r["itl_p99_ms"]), 5),
        column("trials", lambda r: str(r["trials"]), 3),
        column("grade", lambda r: _text(r["grade"]), 0, right=False),
        column("cell", lambda r: r["cell"][:8], 6, right=False),
    ]


def _interval(row: Row) -> str:
    if row["j_per_token_low"] is None:
        return "one trial"
    return f"[{_number(row['j_per_token_low'])}, {_number(row['j_per_token_high'])}]"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:#.3g}".rstrip(".") if abs(value) < 1000 else f"{value:.0f}"


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _left_out(leaderboard: Leaderboard) -> list[str]:
    if not leaderboard.failed and not leaderboard.invalid:
        return []
    counts = f"{leaderboard.failed} failed and {leaderboard.invalid} invalid trials"
    return [f'left out: {counts}; see them with: joulemark sql "from failures"']
