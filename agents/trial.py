"""One trial on the node of its engine: what is scraped and sealed around its load, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from joulemark.agents.client.job import Broken, Done
from joulemark.agents.clock import NodeClock
from joulemark.agents.engines.serving import Serving
from joulemark.agents.orders import Loaded, TrialOrder, TrialResult
from joulemark.agents.scraper import Scraper
from joulemark.agents.spool.seal import seal_together
from joulemark.warehouse.schema.traces import ENGINE_STATE
from joulemark.warehouse.schema.trial import ClientHealth, Interval, NodePart, Trace
from joulemark.warehouse.store.layout import trial_file
from joulemark.warehouse.store.location import Warehouse

DEATH_NOTICE_S = 2.0
"""How long the keeper may take to say that the engine died, after its connections broke."""


@dataclass
class TrialRun:
    """A trial in progress, from ``begin`` to ``end``; its load runs in between, here or elsewhere."""

    order: TrialOrder
    host: Serving
    clock: NodeClock
    node: str
    spool: Path
    warehouse: Warehouse
    interrupted: bool = False
    started_us: int = field(init=False)
    _scraper: Scraper = field(init=False)

    def begin(self) -> None:
        """Begin to scrape the engine."""
        self.started_us = self.clock.now_us()
        self._scraper = Scraper(self.host, self.order.trial, self.node, self.spool, self.clock)
        self._scraper.start()

    def end(self, loaded: Loaded, part: NodePart, seal_power: Callable[[int], list[Trace]]) -> TrialResult:
        """Return the result; ``seal_power`` seals what the sampler recorded from an instant up to now."""
        said, traces = loaded.said, [*self.end_scraping(), *loaded.traces]
        if isinstance(said, Done):
            part = replace(part, window=Interval(said.window_start_us, said.window_end_us))
        traces += seal_power(self.started_us)
        failure_class, error, engine_log = self._failure(said)
        return TrialResult(
            outcome="failed" if failure_class else "done",
            reasons=said.reasons if isinstance(said, Done) else (),
            part=part,
            started_us=self.started_us,
            ended_us=self.clock.now_us(),
            traces=tuple(traces),
            client=_health(said, loaded) if isinstance(said, Done) else None,
            failure_class=failure_class,
            error=error,
            engine_log=engine_log,
        )

    def end_scraping(self) -> list[Trace]:
        """End the scraping and seal what it found."""
        segment = self._scraper.stop()
        segments = [segment] if segment else []
        trace = seal_together(self.warehouse, ENGINE_STATE, segments, trial_file(ENGINE_STATE.name, self.order.trial))
        return [trace] if trace else []

    def _failure(self, said: Done | Broken) -> tuple[str | None, str | None, tuple[str, ...]]:
        """Return failure class, error and the engine's last lines; (None, None, ()) where all went well."""
        if self.interrupted:
            return "interrupted", "the sweep was stopped", ()
        if isinstance(said, Done) and self.host.process.alive:
            return None, None, ()
        if self.host.process.wait(DEATH_NOTICE_S):
            death = self.host.death()
            return death.failure_class, str(death), death.log
        if isinstance(said, Broken):
            return said.failure_class, said.error, ()
        return "client_failed", "the engine stopped serving", ()


def _health(done: Done, loaded: Loaded) -> ClientHealth:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 5)

    return ClientHealth(
        in_flight_fraction=rounded(done.in_flight_fraction),
        lag_p99_us=done.lag_p99_us,
        cpu_fraction=round(done.cpu_fraction, 4),
        median_request_us=done.median_request_us,
        completed=done.completed,
        failed=done.failed,
        processes=done.processes,
        resent=done.resent,
        rate_asked_per_s=rounded(done.rate_asked_per_s),
        rate_achieved_per_s=rounded(done.rate_achieved_per_s),
        late_p99_us=done.late_p99_us,
        backlog_max=done.backlog_max,
        in_flight_max=done.in_flight_max,
        outstanding_growth=rounded(done.outstanding_growth),
        highest_rate_per_s=rounded(done.highest_rate_per_s),
        apart=loaded.apart,
    )


def settle(seconds: float) -> None:
    """Wait until the sampler has read past an instant that has just gone by."""
    time.sleep(seconds)
