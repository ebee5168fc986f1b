"""What a sweep is expected to take and to give before any GPU is touched: the model of ``workloads/simulation``.

Nothing of it is a measurement, and it says so wherever it is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulemark.agents.client.conductor import WINDOW_REQUESTS_PLANNED
from joulemark.orchestrator.estimate import START_S, TRIAL_OVERHEAD_S
from joulemark.orchestrator.node_runner import IDLE_S, IDLE_SHARE
from joulemark.orchestrator.plan import Group
from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.units import J_PER_KWH, S_PER_H
from joulemark.workloads.cell import Cell
from joulemark.workloads.engines.catalogue import slots_of
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.simulation.build import machine_of
from joulemark.workloads.simulation.forecast import Forecast, closed_loop, open_loop
from joulemark.workloads.simulation.hardware import parameters
from joulemark.workloads.site import Price, Site
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

    ``gpu_kwh`` is the energy of the GPU boards, ``node_kwh`` with an assumed share of the node around them: of cells
    that have a forecast, None where none has. ``gpu_cost`` is None where the site has no price of a GPU;
    ``power_included`` says that it holds the electricity.
    """

    cells: tuple[CellForecast, ...]
    starts: int
    busy_s: float
    gpu_hours: float
    gpu_kwh: float | None
    node_kwh: float | None
    electricity: float | None
    gpu_cost: float | None
    power_included: bool

    @property
    def complete(self) -> bool:
        """Whether every cell has a forecast."""
        return all(c.figures is not None for c in self.cells)


@dataclass(frozen=True)
class _Start:
    """One engine start with its trials. ``price`` is that of an hour of one GPU, None for CPUs or where unknown."""

    seconds: float
    devices: int
    joules: float
    price: Price | None

    @property
    def gpu_s(self) -> float:
        return self.seconds * self.devices

    @property
    def node_joules(self) -> float:
        return self.joules + parameters()["host_watts_per_gpu"].value * self.gpu_s


def forecast(
    groups: Sequence[Group], facts: Mapping[str, ModelFacts | None], tables: Tables, site: Site
) -> SweepForecast:
    """Return the forecast of the trials in ``groups``; each cell is modelled once."""
    trials = [t for g in groups for t in g.trials]
    counts = Counter(t.cell.cell_id for t in trials)
    cells = {t.cell.cell_id: t.cell for t in trials}
    made = {i: _cell(c, counts[i], facts.get(c.deployment.model.name), tables) for i, c in cells.items()}
    starts = [_start(group, made, facts.get(group.deployment.model.name), site) for group in groups]
    on_gpus = [s for s in starts if s.devices]
    known = any(c.figures is not None for c in made.values())
    costs = [s.gpu_s / S_PER_H * s.price.per_hour for s in on_gpus if s.price is not None]
    node_kwh = sum(s.node_joules for s in on_gpus) / J_PER_KWH
    return SweepForecast(
        cells=tuple(made.values()),
        starts=len(starts),
        busy_s=sum(s.seconds for s in starts),
        gpu_hours=sum(s.gpu_s for s in on_gpus) / S_PER_H,
        gpu_kwh=sum(s.joules for s in on_gpus) / J_PER_KWH if known else None,
        node_kwh=node_kwh if known else None,
        electricity=node_kwh * site.pue * site.electricity_per_kwh if known else None,
        gpu_cost=sum(costs) if on_gpus and len(costs) == len(on_gpus) else None,
        power_included=all(s.price is not None and s.price.includes_power for s in on_gpus),
    )


def _start(group: Group, made: Mapping[str, CellForecast], facts: ModelFacts | None, site: Site) -> _Start:
    cells = [made[t.cell.cell_id] for t in group.trials]
    figures = [(c.figures, c.trial_s) for c in cells if c.figures is not None]
    start_s = start_seconds(group, facts)
    idle_j = figures[0][0].idle_watts * start_s if figures else 0.0
    on_cpu = group.deployment.on_cpu
    return _Start(
        seconds=start_s + sum(c.trial_s for c in cells),
        devices=0 if on_cpu else group.deployment.parallel.devices,
        joules=idle_j + sum(f.watts * seconds for f, seconds in figures),
        price=None if on_cpu else site.gpu_price(group.deployment.accelerator),
    )


def start_seconds(group: Group, facts: ModelFacts | None) -> float:
    """Return the expected wall time of an engine start: the process, its weights, the measurement of idle power."""
    engine_s = START_S.get(group.deployment.engine.name, 60.0)
    weights_s = facts.total_params * 2 / LOADING_BYTES_PER_S if facts is not None else 0.0
    if group.deployment.engine.name == "simulated":
        weights_s = 0.0
    idle_s = min(max(IDLE_SHARE * group.trials[0].cell.window.window_s, IDLE_S[0]), IDLE_S[1])
    return engine_s + weights_s + idle_s


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


def _cell(cell: Cell, trials: int, facts: ModelFacts | None, tables: Tables) -> CellForecast:
    window = cell.window
    try:
        figures = figures_of(cell, facts, tables)
    except BadInput as error:
        return CellForecast(cell, trials, None, window.warmup_s + window.window_s + TRIAL_OVERHEAD_S, str(error))
    measured_s = max(window.window_s, WINDOW_REQUESTS_PLANNED * figures.request_s)
    warm_s = max(window.warmup_s, figures.request_s)
    return CellForecast(cell, trials, figures, warm_s + measured_s + figures.request_s + TRIAL_OVERHEAD_S)
