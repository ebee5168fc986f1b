"""A sweep's forecast as text and as a record."""

from __future__ import annotations

from collections import Counter
from typing import Any

from joulemark.orchestrator.plan import label
from joulemark.orchestrator.simulate import CellForecast, SweepForecast
from joulemark.orchestrator.terminal import duration
from joulemark.warehouse.units import MS_PER_S
from joulemark.workloads.simulation.forecast import Forecast
from joulemark.workloads.site import Site

BASIS = (
    "simulated: from data sheets and assumptions, nothing was measured; see docs/simulation.md for how far off it is"
)


def forecast_lines(forecast: SweepForecast, site: Site) -> list[str]:
    """Return the forecast for people."""
    known = [c for c in forecast.cells if c.figures is not None]
    reasons = Counter(c.why for c in forecast.cells if c.figures is None)
    out = ["", f"forecast ({BASIS})"]
    if known:
        out += [_HEAD, *(_cell(c, c.figures) for c in known if c.figures is not None)]
    out += [f"  no forecast for {count} cells: {why}" for why, count in reasons.items()]
    if forecast.gpu_kwh is None or forecast.node_kwh is None or forecast.electricity is None:
        return out
    gaps = "" if forecast.complete else " of the cells that have a forecast"
    return [
        *out,
        "",
        f"time: {duration(forecast.busy_s)} for {forecast.starts} engine starts one after the other, "
        f"{forecast.gpu_hours:.3g} GPU-hours",
        f"energy{gaps}: {forecast.gpu_kwh:.3g} kWh at the GPUs, {forecast.node_kwh:.3g} kWh with the nodes around them",
        _money(forecast, forecast.electricity, site),
    ]


def forecast_record(forecast: SweepForecast, site: Site) -> dict[str, Any]:
    """Return the forecast as plain values."""
    return {
        "basis": BASIS,
        "fidelity": "simulated",
        "cells": [_record(c) for c in forecast.cells],
        "complete": forecast.complete,
        "starts": forecast.starts,
        "busy_s": forecast.busy_s,
        "gpu_hours": forecast.gpu_hours,
        "gpu_energy_kwh": forecast.gpu_kwh,
        "node_energy_kwh": forecast.node_kwh,
        "electricity": forecast.electricity,
        "gpu_cost": forecast.gpu_cost,
        "power_included": forecast.power_included,
        "currency": site.currency,
    }


_HEAD = f"  {'tokens/s':>9} {'J/token':>9} {'W':>7} {'TTFT ms':>9} {'ITL ms':>7} {'trial':>7}"


def _cell(cell: CellForecast, f: Forecast) -> str:
    behind = "" if f.kept_up else "  (cannot keep up: its queue grows)"
    joules = "-" if f.j_per_output_token is None else f"{f.j_per_output_token:.4f}"
    return (
        f"  {f.output_tokens_per_s:>9.0f} {joules:>9} {f.watts:>7.0f} {f.ttft_s * MS_PER_S:>9.0f} "
        f"{f.itl_s * MS_PER_S:>7.1f} {duration(cell.trial_s):>7}  "
        f"{cell.cell.deployment.accelerator} {label(cell.cell)}{behind}"
    )


def _money(forecast: SweepForecast, electricity: float, site: Site) -> str:
    source = "default prices" if site.are_defaults else f"prices of {site.name}"
    gpus = "no price of these GPUs is known"
    if forecast.gpu_cost is not None:
        gpus = f"{forecast.gpu_cost:.2f} {site.currency} for the GPU-hours"
    power = f"{electricity:.2g} {site.currency} of electricity at PUE {site.pue:g}"
    return f"cost: {gpus}, {power}{', which is in that price' if forecast.power_included else ''} ({source})"


def _record(cell: CellForecast) -> dict[str, Any]:
    f = cell.figures
    found: dict[str, Any] = {
        "cell": cell.cell.cell_id,
        "label": label(cell.cell),
        "accelerator": cell.cell.deployment.accelerator,
        "trials": cell.trials,
        "trial_s": cell.trial_s,
        "why_not": cell.why,
    }
    if f is None:
        return found
    return found | {
        "output_tokens_per_s": f.output_tokens_per_s,
        "input_tokens_per_s": f.input_tokens_per_s,
        "mean_w": f.watts,
        "j_per_output_token": f.j_per_output_token,
        "ttft_s": f.ttft_s,
        "itl_s": f.itl_s,
        "request_s": f.request_s,
        "batch": f.batch,
        "keeps_up": f.kept_up,
    }
