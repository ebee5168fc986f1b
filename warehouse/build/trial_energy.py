"""Rows of `trial_energy`: every meter's energy in every interval of one trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from joulemark.warehouse.build.clocks import Clocks, well_known
from joulemark.warehouse.build.energy import Estimate, counter_energy, power_integral
from joulemark.warehouse.build.gain import SensorBound, sensor_bound
from joulemark.warehouse.build.meter_updates import MeterUpdates
from joulemark.warehouse.build.readings import PowerReader, Series
from joulemark.warehouse.schema.trial import Interval, NodePart, TrialManifest

INTERVALS = ("window", "cold_idle", "loaded_idle")
DISAGREEMENT = 0.05
LOOSE = 0.005
"""A counter this uncertain, as a share of its energy, gives way to an integral that is known better."""
SIMULATED = "simulated"
NOT_MEASURED = frozenset({"modelled", SIMULATED})
SHARED = "node_shared"
OF_THE_DEVICE = frozenset({"gpu_board", "gpu_memory"})
"""Scopes that hold nothing but the trial's own devices, whatever else runs on the node."""
FIGURES = frozenset(
    {
        *("energy_j", "uncertainty_j", "edge_j", "transient_j", "clock_j", "disagreement", "peak_w"),
        *("p50_w", "p90_w", "p99_w", "burst_share"),
    }
)
NO_METER = "none"
"""Meter of a row that says that there is none."""

Row = dict[str, Any]


def trial_energy_rows(manifest: TrialManifest, reader: PowerReader, clocks: Clocks, updates: MeterUpdates) -> list[Row]:
    """Return one row per node part, interval, meter, device, scope and method."""
    rows: list[Row] = []
    for part in manifest.nodes:
        for name in INTERVALS:
            interval: Interval | None = getattr(part, name)
            if interval is None or interval.end_us <= interval.start_us:
                continue
            head = {
                "trial": manifest.trial,
                "node": part.node,
                "interval": name,
                "start_at": interval.start_us,
                "end_at": interval.end_us,
            }
            found = reader.read(part.node, interval.start_us, interval.end_us)
            kind = _of_a_kind(found, manifest)
            used = [s for s in kind if _is_of(s, part)]
            # Idle power is measured on each node for itself, at times of its own.
            starts = _starts(manifest, name) if name == "window" else {part.node: interval.start_us}
            clock_us = clocks.uncertainty_us(part.node, starts)
            if name == "window" and manifest.client is not None and manifest.client.apart is not None:
                clock_us = _together(clock_us, manifest.client.apart.clock_us)
            for series in used:
                update_us = updates.energy_us(part.node, series.meter, series.scope, interval.start_us)
                own = series_rows(series, interval, clock_us, update_us, check=name == "window")
                shared = SHARED in manifest.reasons and series.scope not in OF_THE_DEVICE
                rows += [head | (_without_figures(row) if shared else row) for row in own]
            rows += [head | row for row in _missing_rows(part, used, simulated=manifest.simulated)]
    return rows


def _together(one_us: float | None, other_us: float | None) -> float | None:
    """Return the larger of two uncertainties; None where one is not known."""
    return None if one_us is None or other_us is None else max(one_us, other_us)


def _of_a_kind(found: list[Series], manifest: TrialManifest) -> list[Series]:
    """Return the readings that can be of a trial: never simulated ones of a real trial, nor real ones beside these."""
    simulated = [s for s in found if s.fidelity == SIMULATED]
    if manifest.simulated and simulated:
        return simulated
    return [s for s in found if s.fidelity != SIMULATED]


def _is_of(series: Series, part: NodePart) -> bool:
    """Return whether the readings can be of a part: a modelled engine process is that of an engine on the CPU."""
    if series.scope == "cpu_process":
        return part.devices == ("cpu",)
    return not series.scope.startswith("gpu_") or series.device in part.devices


def _without_figures(row: Row) -> Row:
    """Return the row of a meter that several engines' work is in: none of it can be told apart as this trial's."""
    return {k: None if k in FIGURES else v for k, v in row.items()} | {"reasons": [*row["reasons"], SHARED]}


def _starts(manifest: TrialManifest, name: str) -> dict[str, int]:
    """Return when an interval begins on each node that has it."""
    intervals = {p.node: getattr(p, name) for p in manifest.nodes}
    return {node: interval.start_us for node, interval in intervals.items() if interval is not None}


def series_rows(
    series: Series, interval: Interval, clock_us: float | None, update_us: float | None = None, *, check: bool
) -> Iterator[Row]:
    """Yield one row per method for the readings of one meter; ``check`` adds what speaks against them together.

    ``update_us`` is how often its counter moves, where that was measured.
    """
    edges = interval.start_us, interval.end_us
    estimates: dict[str, Estimate] = {}
    if series.has_energy.any():
        estimates["counter"] = counter_energy(*series.counter, *edges, clock_us=clock_us, update_us=update_us)
    if series.has_power.any() or not estimates:
        estimates["integral"] = power_integral(
            *series.power, *edges, clock_us=clock_us, averaging_us=series.averaging_us
        )
    apart = disagreement(estimates)
    reasons: tuple[str, ...] = ()
    measured = series.fidelity not in NOT_MEASURED
    if check and measured and apart is not None and abs(apart) > DISAGREEMENT and proved_apart(estimates):
        reasons += ("counter_disagrees",)
    if check and not well_known(clock_us):
        reasons += ("clock_uncertain",)
    chosen = choice(estimates, measured=measured)
    bound = sensor_bound(series.scope, series.fidelity)
    for method, estimate in estimates.items():
        told = replace(estimate, reasons=(*estimate.reasons, *reasons))
        names = (series.meter, series.device, series.scope, series.fidelity, method)
        yield _row(names, told, bound) | {"disagreement": apart, "chosen": method == chosen}


def choice(estimates: dict[str, Estimate], *, measured: bool = True) -> str:
    """Return the method whose figure counts.

    The counter's, unless it has none, or it is known worse than to 0.5 % and the integral is known better: a counter
    that moves ten times a second says little about a window of a second. One that is computed is always better.
    """
    methods = [m for m, e in estimates.items() if e.energy_j is not None] or list(estimates)
    if len(methods) == 1:
        return methods[0]
    counter, integral = estimates["counter"], estimates["integral"]
    if not measured or counter.energy_j is None or counter.uncertainty_j is None or integral.uncertainty_j is None:
        return "counter"
    loose = counter.uncertainty_j > LOOSE * counter.energy_j
    return "integral" if loose and integral.uncertainty_j < counter.uncertainty_j else "counter"


def disagreement(estimates: dict[str, Estimate]) -> float | None:
    """Return integral / counter - 1, or None where there are not both."""
    counter_j, integral_j = (estimates[m].energy_j if m in estimates else None for m in ("counter", "integral"))
    return None if not counter_j or integral_j is None else integral_j / counter_j - 1


def proved_apart(estimates: dict[str, Estimate]) -> bool:
    """Return whether counter and integral are further apart than they may be off, at 95 %.

    An integral of a field that is renewed once a second says little about a window of four: it is no witness against
    the counter, and what speaks against a trial must not depend on how much was read after its window.
    """
    counter, integral = estimates["counter"], estimates["integral"]
    assert counter.energy_j is not None
    assert integral.energy_j is not None
    off_j = math.hypot(counter.uncertainty_j or 0.0, integral.uncertainty_j or 0.0)
    return abs(integral.energy_j - counter.energy_j) > off_j


def _missing_rows(part: NodePart, used: list[Series], *, simulated: bool) -> Iterator[Row]:
    """Yield a row without energy for every device of the deployment that no meter saw."""
    on_cpu = part.devices == ("cpu",)
    own: Callable[[Series], bool] = lambda s: s.scope.startswith("cpu_" if on_cpu else "gpu_")  # noqa: E731 -- one expression
    seen = [s for s in used if own(s)]
    if on_cpu and seen:
        return
    others = {s.fidelity for s in seen}
    fidelity = SIMULATED if simulated else (min(others) if others else "counter")
    reason = "device_missing" if seen else "no_power"
    estimate = Estimate(None, None, 0.0, 0, None, (reason,))
    for device in sorted(set(part.devices) - {s.device for s in seen}):
        names = (NO_METER, device, "cpu_package" if on_cpu else "gpu_board", fidelity, "counter")
        yield _row(names, estimate, None) | {"disagreement": None, "chosen": True}


def _row(names: tuple[str, ...], estimate: Estimate, bound: SensorBound | None) -> Row:
    budget = estimate.budget
    return dict(zip(("meter", "device", "scope", "fidelity", "method"), names, strict=True)) | {
        "energy_j": estimate.energy_j,
        "uncertainty_j": estimate.uncertainty_j,
        "edge_j": budget.edge_j if budget else None,
        "transient_j": budget.transient_j if budget else None,
        "clock_j": budget.clock_j if budget else None,
        "gain_fraction": bound.gain_fraction if bound else None,
        "offset_w": bound.offset_w if bound else None,
        "coverage": estimate.coverage,
        "samples": estimate.samples,
        "p50_w": estimate.shape.p50_w if estimate.shape else None,
        "p90_w": estimate.shape.p90_w if estimate.shape else None,
        "p99_w": estimate.shape.p99_w if estimate.shape else None,
        "burst_share": estimate.shape.burst_share if estimate.shape else None,
        "peak_w": estimate.peak_w,
        "reasons": list(estimate.reasons),
    }
