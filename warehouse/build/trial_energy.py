"""Rows of `trial_energy`: every meter's energy in every interval of one trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from joulemark.warehouse.build.energy import Estimate, counter_energy, power_integral
from joulemark.warehouse.build.readings import PowerReader, Series
from joulemark.warehouse.schema.trial import Interval, NodePart, TrialManifest

INTERVALS = ("window", "cold_idle", "loaded_idle")
DISAGREEMENT = 0.05
NOT_MEASURED = frozenset({"modelled", "simulated"})
NO_METER = "none"
"""Meter of a row that says that there is none."""

Row = dict[str, Any]


def trial_energy_rows(manifest: TrialManifest, reader: PowerReader) -> list[Row]:
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
            rows += [head | row for row in _interval_rows(part, name, interval, found, simulated=manifest.simulated)]
    return rows


def _interval_rows(
    part: NodePart, name: str, interval: Interval, found: list[Series], *, simulated: bool
) -> Iterator[Row]:
    used = [s for s in found if not s.scope.startswith("gpu_") or s.device in part.devices]
    for series in used:
        yield from _series_rows(series, interval, check=name == "window")
    yield from _missing_rows(part, used, simulated=simulated)


def _series_rows(series: Series, interval: Interval, *, check: bool) -> Iterator[Row]:
    edges = interval.start_us, interval.end_us
    estimates: dict[str, Estimate] = {}
    if series.has_energy.any():
        estimates["counter"] = counter_energy(*series.counter, *edges)
    if series.has_power.any() or not estimates:
        estimates["integral"] = power_integral(*series.power, *edges)
    if check and series.fidelity not in NOT_MEASURED and _disagree(estimates):
        estimates = {m: replace(e, reasons=(*e.reasons, "counter_disagrees")) for m, e in estimates.items()}
    for method, estimate in estimates.items():
        yield _row(series.meter, series.device, series.scope, series.fidelity, method, estimate)


def _disagree(estimates: dict[str, Estimate]) -> bool:
    energies_j = [e.energy_j for e in estimates.values() if e.energy_j is not None]
    return len(energies_j) == 2 and abs(energies_j[0] - energies_j[1]) > DISAGREEMENT * abs(energies_j[0])


def _missing_rows(part: NodePart, used: list[Series], *, simulated: bool) -> Iterator[Row]:
    """Yield a row without energy for every device of the deployment that no meter saw."""
    on_cpu = part.devices == ("cpu",)
    own: Callable[[Series], bool] = lambda s: s.scope.startswith("cpu_" if on_cpu else "gpu_")  # noqa: E731 -- one expression
    seen = [s for s in used if own(s)]
    if on_cpu and seen:
        return
    others = {s.fidelity for s in seen}
    fidelity = "simulated" if simulated else (min(others) if others else "counter")
    reason = "device_missing" if seen else "no_power"
    estimate = Estimate(None, None, 0.0, 0, None, (reason,))
    for device in sorted(set(part.devices) - {s.device for s in seen}):
        yield _row(NO_METER, device, "cpu_package" if on_cpu else "gpu_board", fidelity, "counter", estimate)


def _row(meter: str, device: str, scope: str, fidelity: str, method: str, estimate: Estimate) -> Row:
    return {
        "meter": meter,
        "device": device,
        "scope": scope,
        "fidelity": fidelity,
        "method": method,
        "energy_j": estimate.energy_j,
        "uncertainty_j": estimate.uncertainty_j,
        "coverage": estimate.coverage,
        "samples": estimate.samples,
        "peak_w": estimate.peak_w,
        "reasons": list(estimate.reasons),
    }
