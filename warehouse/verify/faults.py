"""Known answers for readings that are not whole: each gives its reason, and never a silent number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemark.warehouse.build.energy import counter_energy, power_integral
from joulemark.warehouse.build.readings import Series
from joulemark.warehouse.build.trial_energy import series_rows
from joulemark.warehouse.schema.trial import Interval
from joulemark.warehouse.units import US_PER_S
from joulemark.warehouse.verify.case import Case, near, same
from joulemark.warehouse.verify.known import END_US, EPOCH_US, START_US, Readings, readings, square, steady
from joulemark.warehouse.verify.signal import Signal

FAMILY = "faults"
MIDDLE_US = (START_US + END_US) // 2
SKEW_US = 800_000


def fault_cases() -> Iterator[Case]:
    """Yield all of them."""
    known = steady()
    found = readings(known.signal)
    yield from _gap(found, known.energy_j)
    yield from _reset(found)
    yield from _edges(found)
    yield from _rows(found)
    yield from _order(found)
    yield from _skew()


def _gap(found: Readings, energy_j: float) -> Iterator[Case]:
    kept = np.abs(found.t_us - MIDDLE_US) > 2 * US_PER_S
    counter = counter_energy(found.t_us[kept], found.energy_uj[kept], START_US, END_US)
    yield same(FAMILY, "counter over a gap of 4 s, reasons", ("sample_gap",), counter.reasons)
    yield near(FAMILY, "counter over a gap of 4 s", energy_j, counter.energy_j, counter.uncertainty_j or 0.0)
    integral = power_integral(found.t_us[kept], found.power_mw[kept], START_US, END_US)
    yield same(FAMILY, "integral over a gap of 4 s", None, integral.energy_j)
    yield same(FAMILY, "integral over a gap of 4 s, reasons", ("sample_gap",), integral.reasons)


def _reset(found: Readings) -> Iterator[Case]:
    for name, at_us, reasons in (
        ("inside the window", MIDDLE_US, ("counter_reset",)),
        ("before the window", START_US - 5 * US_PER_S, ()),
    ):
        begins = int(np.searchsorted(found.t_us, at_us))
        energy_uj = np.where(found.t_us < at_us, found.energy_uj, found.energy_uj - found.energy_uj[begins])
        estimate = counter_energy(found.t_us, energy_uj, START_US, END_US)
        yield same(FAMILY, f"counter that begins again {name}, reasons", reasons, estimate.reasons)
        yield same(FAMILY, f"counter that begins again {name}, a figure", not reasons, estimate.energy_j is not None)


def _edges(found: Readings) -> Iterator[Case]:
    late = found.t_us > START_US
    for name, estimate in (
        ("counter", counter_energy(found.t_us[late], found.energy_uj[late], START_US, END_US)),
        ("integral", power_integral(found.t_us[late], found.power_mw[late], START_US, END_US)),
    ):
        yield same(FAMILY, f"{name} that begins after the window, reasons", ("edge_not_bracketed",), estimate.reasons)
        yield same(FAMILY, f"{name} that begins after the window", None, estimate.energy_j)
    nothing = np.empty(0, np.int64)
    yield same(FAMILY, "no reading, reasons", ("no_power",), power_integral(nothing, nothing, START_US, END_US).reasons)
    stood = counter_energy(found.t_us, np.full(len(found.t_us), 7), START_US, END_US)
    yield same(FAMILY, "counter that stands still", None, stood.energy_j)


def _rows(found: Readings) -> Iterator[Case]:
    """Yield what the rows of a trial say of NULL readings, and of a counter that is not of the same device."""
    missing = np.abs(found.t_us - MIDDLE_US) < 3 * US_PER_S
    rows = _of(found, found.energy_uj, ~missing)
    yield same(FAMILY, "NULL for 6 s, integral", None, rows["integral"]["energy_j"])
    yield same(FAMILY, "NULL for 6 s, reasons", ("sample_gap",), tuple(rows["integral"]["reasons"]))
    yield same(FAMILY, "NULL for 6 s, the method that counts", "counter", _chosen(rows))
    rows = _of(found, found.energy_uj * 11 // 10, np.ones(len(missing), dtype=np.bool_))
    yield same(FAMILY, "counter 10 % over power, reasons", ("counter_disagrees",), tuple(rows["counter"]["reasons"]))
    yield near(FAMILY, "counter 10 % over power", 1 / 1.1 - 1, rows["counter"]["disagreement"], 0.002, "")


def _order(found: Readings) -> Iterator[Case]:
    order = np.random.default_rng(5).permutation(np.repeat(np.arange(len(found.t_us)), 2))
    for name, way, values in (
        ("counter", counter_energy, found.energy_uj),
        ("integral", power_integral, found.power_mw),
    ):
        straight, mixed = (way(found.t_us[i], values[i], START_US, END_US) for i in (slice(None), order))
        yield same(FAMILY, f"{name} of readings twice and in no order", straight.energy_j, mixed.energy_j)


def _skew() -> Iterator[Case]:
    """Yield a clock that is 0.8 s off, on 30 s at 500 W in 100 W of idle: known to cost 0.8 s x 400 W."""
    begin_us, end_us = EPOCH_US + 30 * US_PER_S, EPOCH_US + 60 * US_PER_S
    edges_us = np.array([EPOCH_US - US_PER_S, begin_us, end_us, EPOCH_US + 101 * US_PER_S], dtype=np.float64)
    found = readings(Signal.steps(edges_us, np.array([100.0, 500.0, 100.0])))
    window = begin_us + SKEW_US, end_us + SKEW_US
    skewed = power_integral(found.t_us, found.power_mw, *window, clock_us=SKEW_US)
    lost_j = None if skewed.energy_j is None else 500 * 30 - skewed.energy_j
    yield near("clock", "a window 0.8 s late loses", 0.8 * 400, lost_j, 30.0)
    yield near("clock", "and that is stated", 0.8 * 400, skewed.budget.clock_j if skewed.budget else None, 30.0)
    known = square()
    found = readings(known.signal)
    unknown = power_integral(found.t_us, found.power_mw, START_US, END_US, clock_us=None)
    yield same("clock", "clocks that are not known, stated uncertainty", None, unknown.uncertainty_j)


def _of(found: Readings, energy_uj: NDArray[np.int64], there: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
    always = np.ones(len(found.t_us), dtype=np.bool_)
    series = Series("nvml", "GPU", "gpu_board", "counter", found.t_us, found.power_mw, there, energy_uj, always)
    rows = series_rows(series, Interval(START_US, END_US), 0.0, check=True)
    return {row["method"]: row for row in rows}


def _chosen(rows: dict[str, dict[str, Any]]) -> str:
    return next(method for method, row in rows.items() if row["chosen"])
