"""What a sweep is expected to take and to give before any GPU is touched: the model of ``workloads/simulation``.

Nothing of it is a measurement, and it says so wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulemark.agents.client.conductor import WINDOW_REQUESTS_PLANNED
from joulemark.orchestrator.estimate import START_S, TRIAL_OVERHEAD_S
from joulemark.orchestrator.node_runner import idle_seconds
from joulemark.orchestrator.plan import Group
from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.units import J_PER_KWH, S_PER_H
from joulemark.workloads.cell import Cell
from joulemark.workloads.engines.catalogue import slots_of
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.simulation.build import machine_of
from joulemark.workloads.simulation.forecast import Forecast, closed_loop, open_loop
from joulemark.workloads.simulation.hardware import parameters
from joulemark.workloads.site import Site
from joulemark.workloads.traffic.make import lengths_asked, make_traffic
from joulemark.workloads.traffic.tables import Tables

LOADING_BYTES_PER_S = 1e9
"""Weights from a local disk; only the first start of a node takes longer."""
OPEN_LOOP_S = (60.0, 600.0)
"""How much of an open loop is run, at least and at most."""


@dataclass(frozen=True)
class CellForecast:
    """One cell: its figures, or why there are none. ``trial_s`` is the wall time of one trial."""

    cell: Cell
    trials: int
    figures: Forecast | None
    trial_s: float
    why: str | None = None


@dataclass(frozen=True)
class SweepForecast:
    """A sweep as one deployment after the other. ``complete`` is false where cells have no forecast.

    ``gpu_kwh`` is the energy of the GPU boards, ``node_kwh`` with an assumed share of the node around them; money is
    None where the site has no price, or nothing could be forecast.
    """

    cells: tuple[CellForecast, ...]
    starts: int
    busy_s: float
    gpu_hours: float
    gpu_kwh: float
    node_kwh: float
    electricity: float
    gpu_cost: float | None
    complete: bool


def forecast(
    groups: Sequence[Group], facts: Mapping[str, ModelFacts | None], tables: Tables, site: Site
) -> SweepForecast:
    """Return the forecast of the trials in ``groups``; each cell is modelled once."""
    cells: dict[str, CellForecast] = {}
    busy_s = gpu_s = gpu_j = cost = 0.0
    priced = True
    host_w = parameters()["host_watts_per_gpu"].value
    node_j = 0.0
    for group in groups:
        for trial in group.trials:
            known = cells.get(trial.cell.cell_id)
            cells[trial.cell.cell_id] = (
                CellForecast(known.cell, known.trials + 1, known.figures, known.trial_s, known.why)
                if known
                else _cell(trial.cell, facts.get(trial.cell.deployment.model.name), tables)
            )
        devices = group.deployment.parallel.devices
        made = [cells[t.cell.cell_id] for t in group.trials]
        figures = [m.figures for m in made if m.figures is not None]
        start_s = start_seconds(group, facts.get(group.deployment.model.name))
        idle_w = figures[0].idle_watts if figures else 0.0
        seconds = start_s + sum(m.trial_s for m in made)
        joules = idle_w * start_s + sum(m.figures.watts * m.trial_s for m in made if m.figures is not None)
        busy_s += seconds
        if not group.deployment.on_cpu:
            gpu_s += seconds * devices
            node_j += joules + host_w * devices * seconds
        gpu_j += joules
        price = site.gpu_price(group.deployment.accelerator)
        priced = priced and price is not None
        cost += seconds / S_PER_H * devices * price.per_hour if price is not None else 0.0
    return SweepForecast(
        cells=tuple(cells.values()),
        starts=len(groups),
        busy_s=busy_s,
        gpu_hours=gpu_s / S_PER_H,
        gpu_kwh=gpu_j / J_PER_KWH,
        node_kwh=node_j / J_PER_KWH,
        electricity=node_j / J_PER_KWH * site.pue * site.electricity_per_kwh,
        gpu_cost=cost if priced and groups else None,
        complete=all(c.figures is not None for c in cells.values()),
    )


def start_seconds(group: Group, facts: ModelFacts | None) -> float:
    """Return the expected wall time of an engine start: the process, its weights, the measurement of idle power."""
    engine_s = START_S.get(group.deployment.engine.name, 60.0)
    weights_s = facts.total_params * 2 / LOADING_BYTES_PER_S if facts is not None else 0.0
    if group.deployment.engine.name == "simulated":
        weights_s = 0.0
    return engine_s + weights_s + idle_seconds(group.trials[0].cell.window.window_s)


def figures_of(cell: Cell, facts: ModelFacts | None, tables: Tables) -> Forecast:
    """Return what a cell is expected to give. Raises BadInput where that cannot be forecast."""
    workload = cell.workload
    machine, slots = machine_of(cell.deployment, facts), max(slots_of(cell), workload.concurrency or 1)
    lengths = lengths_asked(workload, tables)
    if workload.concurrency is not None:
        return closed_loop(machine, slots, workload.concurrency, lengths)
    if workload.conversation is not None:
        raise BadInput("conversations in an open loop are not forecast")
    schedule = make_traffic(workload, prompt_seed=0, vocab_size=2, tables=tables).schedule
    assert schedule is not None
    if workload.load is not None and workload.load.fraction is not None:
        # The highest rate is that of a closed loop as wide as the engine is made for.
        full = closed_loop(machine, slots, slots, lengths_asked(workload, tables))
        schedule = schedule.at_rate(workload.load.fraction * full.requests_per_s)
    seconds = schedule.duration_s or cell.window.warmup_s + cell.window.window_s
    seconds = min(max(seconds, OPEN_LOOP_S[0]), OPEN_LOOP_S[1])
    return open_loop(machine, slots, schedule.due_s(), lengths, seconds)


def _cell(cell: Cell, facts: ModelFacts | None, tables: Tables) -> CellForecast:
    window = cell.window
    try:
        figures = figures_of(cell, facts, tables)
    except BadInput as error:
        return CellForecast(cell, 1, None, window.warmup_s + window.window_s + TRIAL_OVERHEAD_S, str(error))
    measured_s = max(window.window_s, WINDOW_REQUESTS_PLANNED * figures.request_s)
    return CellForecast(
        cell, 1, figures, max(window.warmup_s, figures.request_s) + measured_s + figures.request_s + TRIAL_OVERHEAD_S
    )
