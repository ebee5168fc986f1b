"""What a sweep will take: time from earlier trials where there are any, otherwise from its windows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulemark.orchestrator.plan import Group, Wanted
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.units import J_PER_KWH, S_PER_H

TRIAL_OVERHEAD_S = 3.0
START_S = {"llamacpp": 6.0, "vllm": 60.0, "sglang": 60.0, "simulated": 5.0}
"""Engine start, loading and idle measurement, where nothing was measured yet."""


@dataclass(frozen=True)
class Past:
    """What earlier trials took: wall seconds and mean watts by cell and by deployment, start seconds by deployment."""

    trial_s: Mapping[str, float]
    mean_w: Mapping[str, float]
    start_s: Mapping[str, float]


@dataclass(frozen=True)
class Estimate:
    """Time, energy and cost of what is still to run; ``basis`` says from what. Energy is None where no power is known.

    ``node_hours`` are the hours that nodes are busy, all nodes together; ``wall_s`` is how long the
    sweep takes when they share the work as it is scheduled.
    """

    wall_s: float
    node_hours: float
    energy_kwh: float | None
    electricity: float | None
    trials_known: int
    trials: int

    @property
    def basis(self) -> str:
        """In words."""
        if self.trials_known == 0:
            return "from the lengths of warm-up and window only: nothing like it was measured here yet"
        return f"from earlier trials for {self.trials_known} of {self.trials}, from window lengths for the rest"


def past(warehouse: Warehouse) -> Past:
    """Return what the warehouse knows; nothing where it does not exist yet."""
    if not warehouse.exists("trials"):
        return Past({}, {}, {})
    # DuckDB takes a while to load, and most commands do without it.
    from joulemark.warehouse.query.open import open_warehouse

    with open_warehouse(warehouse) as connection:
        trials = connection.sql(
            "SELECT cell, deployment, median(epoch(ended_at) - epoch(started_at)) AS trial_s, "
            "median(ready_s) AS start_s FROM trials WHERE outcome = 'done' GROUP BY ALL"
        ).to_pylist()
        power = connection.sql(
            "SELECT cell, median(mean_w) AS mean_w FROM trial_results WHERE mean_w IS NOT NULL GROUP BY ALL"
        ).to_pylist()
    return Past(
        {t["cell"]: t["trial_s"] for t in trials},
        {p["cell"]: p["mean_w"] for p in power},
        {t["deployment"]: t["start_s"] for t in trials if t["start_s"] is not None},
    )


def trial_s(trial: Wanted, known: Past) -> float:
    """Return the expected wall time of one trial."""
    window = trial.cell.window
    return known.trial_s.get(trial.cell.cell_id, window.warmup_s + window.window_s + TRIAL_OVERHEAD_S)


def start_s(group: Group, known: Past) -> float:
    """Return the expected time from the order to start an engine until it serves, idle measurement included."""
    measured = known.start_s.get(group.deployment.deployment_id)
    return START_S.get(group.deployment.engine.name, 60.0) if measured is None else measured + TRIAL_OVERHEAD_S


def group_s(group: Group, known: Past) -> float:
    """Return the expected time of a whole group."""
    return start_s(group, known) + sum(trial_s(t, known) for t in group.trials)


def estimate(groups: Sequence[Group], known: Past, wall_s: float, price_per_kwh: float, pue: float) -> Estimate:
    """Return the estimate for ``groups`` that take ``wall_s`` on all nodes together."""
    busy_s = energy_j = 0.0
    seen = powered = total = 0
    watts = statistics.fmean(known.mean_w.values()) if known.mean_w else None
    for group in groups:
        nodes = group.deployment.parallel.nodes
        busy_s += nodes * start_s(group, known)
        for trial in group.trials:
            total += 1
            seconds = trial_s(trial, known)
            busy_s += nodes * seconds
            seen += trial.cell.cell_id in known.trial_s
            mean_w = known.mean_w.get(trial.cell.cell_id, watts)
            if mean_w is not None:
                powered += 1
                energy_j += mean_w * seconds
    kwh = energy_j / J_PER_KWH if powered == total and total else None
    return Estimate(
        wall_s=wall_s,
        node_hours=busy_s / S_PER_H,
        energy_kwh=kwh,
        electricity=None if kwh is None else kwh * pue * price_per_kwh,
        trials_known=seen,
        trials=total,
    )
