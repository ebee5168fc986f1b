"""Compare two cells: how many times the energy per output token, and whether that can be told from chance."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from joulemark.warehouse.build.cell_statistics import cell_mean
from joulemark.warehouse.build.statistics import FAMILY_ERROR, Mean, compare_means
from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.query.open import Connection
from joulemark.warehouse.sensor_difference import SensorDifference, sensor_difference

Row = dict[str, Any]

KEYS = (
    *("model", "architecture", "quantization", "kv_type", "engine", "engine_version", "accelerator"),
    *("devices", "tensor", "pipeline", "data_parallel", "expert", "spanned_nodes", "client", "power_limit_w"),
    *("concurrency", "input_tokens", "output_tokens", "arrivals", "task", "load", "sweep"),
)
"""What a filter may name."""
NARROWEST = ("gpu", "cpu", "gpu+cpu", "node", "facility")
LISTED = 10


@dataclass(frozen=True)
class Side:
    """One of the two cells: J per output token with its 95 % interval, which is None under 2 trials."""

    cell: str
    label: str
    j_per_token: float
    interval: tuple[float, float] | None
    trials: int


@dataclass(frozen=True)
class Comparison:
    """``ratio`` is J per output token of a over that of b; interval and p are None where a side has one trial only."""

    a: Side
    b: Side
    boundary: str
    fidelity: str
    ratio: float
    interval: tuple[float, float] | None
    p: float | None
    same_workload: bool
    sensors: SensorDifference

    @property
    def distinguishable(self) -> bool:
        """Whether the two differ significantly (p under 5 %)."""
        return self.p is not None and self.p < FAMILY_ERROR

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.interval is None or self.p is None:
            return f"a uses {self.ratio:.3g} times the energy of b per output token; not distinguishable: {_ONE_TRIAL}"
        low, high = self.interval
        effect = f"a uses {self.ratio:.3g} times the energy of b per output token [{low:.3g}, {high:.3g}]"
        verdict = "" if self.distinguishable else "; not distinguishable"
        return f"{effect}, p = {self.p:.2g}{verdict}"


_ONE_TRIAL = "a cell with one trial has no interval"


def compare(connection: Connection, a: str, b: str, *, boundary: str | None = None) -> Comparison:
    """Compare two cells, each given by the start of its id or by a filter like ``model=tiny-moe,quantization=q4_0``.

    Taken is the narrowest boundary (or the one given) that both have valid trials of the same fidelity in. Raises
    BadInput where a side names no cell or several, or the two have no boundary and fidelity in common.
    """
    rows = connection.sql("FROM cell_results WHERE trials_valid > 0").to_pylist()
    cells = [_one_cell(rows, text) for text in (a, b)]
    place = _common(rows, cells, boundary)
    sides = [_side(connection, rows, cell, place) for cell in cells]
    (side_a, mean_a), (side_b, mean_b) = sides
    difference = compare_means(mean_a, mean_b)
    tasks = [{r["task"] for r in rows if r["cell"] == c} for c in cells]
    sensors = sensor_difference(connection, (cells[0], cells[1]), place)
    same = tasks[0] == tasks[1]
    return Comparison(
        side_a, side_b, *place, difference.ratio, difference.interval, difference.p, same_workload=same, sensors=sensors
    )


def render(comparison: Comparison) -> str:
    """Return the comparison as a few lines of text."""
    out = []
    for name, side in (("a", comparison.a), ("b", comparison.b)):
        low_high = "one trial" if side.interval is None else "[{:.3g}, {:.3g}]".format(*side.interval)
        out.append(f"{name}: {side.label}")
        out.append(f"   {side.j_per_token:.3g} J/token {low_high}, {side.trials} trials, cell {side.cell}")
    out.append(f"{comparison.sentence} (boundary {comparison.boundary}, fidelity {comparison.fidelity})")
    out.append(comparison.sensors.sentence(comparison.ratio))
    if not comparison.same_workload:
        out.append("the two were asked for different lengths of prompt or answer")
    return "\n".join(out) + "\n"


def cell_label(row: Row) -> str:
    """Return a cell in words, from a row that has the factors as columns."""
    return (
        f"{row['model']} {row['quantization']} {row['engine']} {row['accelerator']} x{max(1, row['tensor'] or 1)} "
        f"{row['load']}, {row['task']}"
    )


def _one_cell(rows: list[Row], text: str) -> str:
    matching = _by_filter(rows, text) if "=" in text else [r for r in rows if r["cell"].startswith(text)]
    found: dict[str, str] = {r["cell"]: cell_label(r) for r in matching}
    if len(found) == 1:
        return next(iter(found))
    known = found or {r["cell"]: cell_label(r) for r in rows}
    listed = "; ".join(f"{cell} ({label})" for cell, label in list(known.items())[:LISTED])
    more = f"; and {len(known) - LISTED} more" if len(known) > LISTED else ""
    if not known:
        raise BadInput(f"{text!r} matches no cell: no cell of this warehouse has a valid trial")
    problem = f"matches {len(found)} cells" if found else "matches no cell with valid trials; there are"
    raise BadInput(f"{text!r} {problem}: {listed}{more}")


def _by_filter(rows: list[Row], text: str) -> list[Row]:
    wanted = {}
    for pair in text.split(","):
        match = re.fullmatch(r"\s*(\w+)\s*=\s*(.*?)\s*", pair)
        if match is None:
            raise BadInput(f"{text!r}: write a filter as key=value,key=value")
        key = match[1]
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KEYS)}"
            raise BadInput(f"{text!r}: unknown key {key!r}; {hint}")
        wanted[key] = match[2].lower()
    return [r for r in rows if all(str(r[k]).lower() == v for k, v in wanted.items())]


def _common(rows: list[Row], cells: list[str], boundary: str | None) -> tuple[str, str]:
    places = [{(r["boundary"], r["fidelity"]) for r in rows if r["cell"] == c} for c in cells]
    common = sorted(
        (p for p in places[0] & places[1] if boundary in (None, p[0])), key=lambda p: (NARROWEST.index(p[0]), p[1])
    )
    if not common:
        has = " and ".join(", ".join(f"{b} ({f})" for b, f in sorted(p)) for p in places)
        raise BadInput(f"the two cells have no boundary and fidelity in common to compare in: they have {has}")
    return common[0]


def _side(connection: Connection, rows: list[Row], cell: str, place: tuple[str, str]) -> tuple[Side, Mean]:
    table = connection.duckdb.sql(
        "FROM trial_results SELECT nodes, start, j_per_output_token AS j WHERE valid AND j_per_output_token > 0 "
        "AND cell = ? AND boundary = ? AND fidelity = ? ORDER BY trial",
        params=[cell, *place],
    ).to_arrow_table()
    trials = table.to_pylist()
    mean = cell_mean(trials)
    label = next(cell_label(r) for r in rows if r["cell"] == cell)
    return Side(cell, label, mean.value, mean.interval, mean.trials), mean
