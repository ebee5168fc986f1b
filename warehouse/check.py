"""The validity gate, and limits that a user sets: what `check` finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joulemark.warehouse.compare import NARROWEST, cell_label
from joulemark.warehouse.query.open import Connection
from joulemark.warehouse.schema.reasons import GRADES

Row = dict[str, Any]


@dataclass(frozen=True)
class Thresholds:
    """Limits on every cell, in its narrowest boundary or in ``boundary``; None: no limit."""

    max_j_per_token: float | None = None
    min_tokens_per_joule: float | None = None
    min_tokens_per_s: float | None = None
    max_ttft_p99_ms: float | None = None
    max_itl_p99_ms: float | None = None
    min_grade: str | None = None
    boundary: str | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that is less than asked for."""

    cell: str
    label: str
    problem: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.label} [{self.cell}]: {self.problem}"


def check(
    connection: Connection, thresholds: Thresholds | None = None, *, planned: Mapping[str, int] | None = None
) -> list[Finding]:
    """Return what speaks against publishing: an empty list passes.

    Every cell must have its planned number of valid trials (repeats x starts), and each trial that failed or is
    invalid must have been made good by a later valid attempt. ``planned`` gives the cells of a plan with the number of
    trials each needs: then these cells are checked, whether they have trials or not; without it all cells are that
    have a trial. Raises QueryError where records cannot be read.
    """
    trials = _trials(connection)
    needed = {t["cell"]: t["planned"] for t in trials} if planned is None else dict(planned)
    by_cell: dict[str, list[Row]] = {cell: [] for cell in needed}
    for trial in trials:
        if trial["cell"] in by_cell:
            by_cell[trial["cell"]].append(trial)
    findings = [f for cell, mine in by_cell.items() for f in _validity(cell, mine, needed[cell])]
    return findings + _limits(connection, thresholds or Thresholds(), set(needed))


def _trials(connection: Connection) -> list[Row]:
    trials = connection.sql("""
        FROM trials AS t
        LEFT JOIN failures AS f ON f.trial = t.trial
        SELECT t.*, t.planned_repeats * t.planned_starts AS planned, f.trial IS NULL AS good,
          coalesce(f.failure_class, list_aggregate(f.reasons, 'string_agg', ', ')) AS why
        ORDER BY t.started_at
    """)
    return list(trials.to_pylist())


def _validity(cell: str, trials: list[Row], needed: int) -> list[Finding]:
    if not trials:
        return [Finding(cell, "cell", f"no trial yet of {needed} planned")]
    label = cell_label(trials[-1])
    good = {(t["start"], t["repeat"]) for t in trials if t["good"]}
    findings = []
    if len(good) < needed:
        findings.append(Finding(cell, label, f"{len(good)} valid trials of {needed} planned"))
    bad = Counter(t["why"] or t["outcome"] for t in trials if not t["good"] and not _made_good(t, trials))
    findings += [
        Finding(cell, label, f"{n} {'trial' if n == 1 else 'trials'} not valid: {why}") for why, n in bad.items()
    ]
    return findings


def _made_good(bad: Row, trials: list[Row]) -> bool:
    """Return whether a later attempt at the same trial is valid."""
    return any(
        t["good"] and (t["start"], t["repeat"]) == (bad["start"], bad["repeat"]) and t["attempt"] > bad["attempt"]
        for t in trials
    )


def _limits(connection: Connection, thresholds: Thresholds, cells: set[str]) -> list[Finding]:
    rows = [r for r in connection.sql("FROM cell_results WHERE trials_valid > 0").to_pylist() if r["cell"] in cells]
    rows.sort(key=lambda r: NARROWEST.index(r["boundary"]))
    chosen: dict[str, Row] = {}
    for row in rows:
        if thresholds.boundary in (None, row["boundary"]):
            chosen.setdefault(row["cell"], row)
    findings = [
        Finding(cell, cell_label(row), problem) for cell, row in chosen.items() for problem in _missed(row, thresholds)
    ]
    if thresholds.boundary is not None:
        known = {r["cell"]: r for r in rows}
        findings += [
            Finding(cell, cell_label(row), f"no valid trial in boundary {thresholds.boundary}")
            for cell, row in known.items()
            if cell not in chosen
        ]
    return findings


def _missed(row: Row, thresholds: Thresholds) -> list[str]:
    j_per_token = row["j_per_output_token"]
    tokens_per_joule = None if not j_per_token else 1 / j_per_token
    highest = (
        ("J per output token", j_per_token, thresholds.max_j_per_token),
        ("TTFT p99 in ms", row["ttft_p99_ms"], thresholds.max_ttft_p99_ms),
        ("ITL p99 in ms", row["itl_p99_ms"], thresholds.max_itl_p99_ms),
    )
    lowest = (
        ("output tokens per joule", tokens_per_joule, thresholds.min_tokens_per_joule),
        ("output tokens per second", row["output_tokens_per_s"], thresholds.min_tokens_per_s),
    )
    missed = [_over(what, value, limit, "over") for what, value, limit in highest if _beyond(value, limit, 1)]
    missed += [_over(what, value, limit, "under") for what, value, limit in lowest if _beyond(value, limit, -1)]
    order = list(GRADES)
    if thresholds.min_grade and order.index(row["grade"]) < order.index(thresholds.min_grade):
        missed.append(f"grade {row['grade']}, under {thresholds.min_grade}")
    return missed


def _beyond(value: float | None, limit: float | None, sign: int) -> bool:
    """Return whether a limit is missed; a figure that is not there misses every limit."""
    return limit is not None and (value is None or sign * value > sign * limit)


def _over(what: str, value: float | None, limit: float | None, side: str) -> str:
    return f"{what} is not known" if value is None else f"{what} is {value:.4g}, {side} {limit:.4g}"
