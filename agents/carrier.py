"""The loads that a node carries for engines on other nodes."""

from __future__ import annotations

import threading
from functools import partial

from joulemark.agents.client.job import Progress
from joulemark.agents.load import Load
from joulemark.agents.node_things import NodeThings
from joulemark.agents.orders import AgentProgress, Loaded, LoadOrder


class Carrier:
    """Runs several loads at the same time. Their instants are on the clocks of their engines' nodes."""

    def __init__(self, things: NodeThings) -> None:
        self.things = things
        self._lock = threading.Lock()
        self._loads: dict[str, Load] = {}
        self._tokens_per_s: dict[str, float] = {}

    @property
    def doing(self) -> AgentProgress | None:
        """What it does; None where it carries nothing."""
        with self._lock:
            if not self._loads:
                return None
            return AgentProgress(f"carrying loads ({len(self._loads)})", sum(self._tokens_per_s.values()))

    def carry(self, order: LoadOrder) -> Loaded:
        """Carry one load to its end and seal its requests. Raises DiskFull."""
        things, trial = self.things, order.trial.trial
        clock = things.clock.ahead(order.shift_us)
        load = Load(things, order.trial, order.target, clock, partial(self._note, trial))
        with self._lock:
            self._loads[trial] = load
        if things.interrupted.is_set():
            load.interrupt()
        try:
            return load.run()
        finally:
            with self._lock:
                del self._loads[trial]
                self._tokens_per_s.pop(trial, None)

    def end(self, trial: str) -> None:
        """End the load of a trial, if it runs."""
        with self._lock:
            load = self._loads.get(trial)
        if load is not None:
            load.interrupt()

    def interrupt(self) -> None:
        """End all loads."""
        with self._lock:
            loads = list(self._loads.values())
        for load in loads:
            load.interrupt()

    def _note(self, trial: str, progress: Progress) -> None:
        with self._lock:
            self._tokens_per_s[trial] = progress.tokens_per_s
