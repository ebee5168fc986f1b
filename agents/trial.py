"""One trial on a node: load, scrape, and everything sealed into the warehouse before it counts."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from joulemark.agents.client.conductor import Conductor
from joulemark.agents.client.job import Broken, ClientJob, Done, Progress
from joulemark.agents.clock import NodeClock
from joulemark.agents.engines.serving import Serving
from joulemark.agents.orders import TrialOrder, TrialResult
from joulemark.agents.scraper import Scraper
from joulemark.agents.spool.seal import leftovers, seal_together
from joulemark.warehouse.schema.columns import Dataset
from joulemark.warehouse.schema.traces import ENGINE_STATE, REQUESTS
from joulemark.warehouse.schema.trial import ClientHealth, Interval, NodePart, Trace
from joulemark.warehouse.store.layout import trial_file
from joulemark.warehouse.store.location import Warehouse

REQUEST_TIMEOUT_S = 600.0
DRAIN_S = 120.0
DEATH_NOTICE_S = 2.0
"""How long the keeper may take to say that the engine died, after its connections broke."""


@dataclass
class TrialRun:
    """A trial in progress. ``highest_rate_per_s`` is the deployment's with this workload, where it was found before."""

    order: TrialOrder
    host: Serving
    clock: NodeClock
    node: str
    spool: Path
    warehouse: Warehouse
    report: Callable[[Progress], None]
    highest_rate_per_s: float | None = None
    cpus: tuple[int, ...] | None = None
    """The load client's own, None for any."""
    client: Conductor | None = None
    interrupted: bool = False
    _traces: list[Trace] = field(default_factory=list)

    def run(self, part: NodePart, seal_power: Callable[[int], list[Trace]]) -> TrialResult:
        """Run it and return its result; ``seal_power`` seals what the sampler recorded from an instant up to now."""
        started_us = self.clock.now_us()
        scraper = Scraper(self.host, self.order.trial, self.node, self.spool, self.clock)
        scraper.start()
        tables = self._write_tables()
        try:
            self.client = Conductor.start(self._job(tables), self.cpus)
            if self.interrupted:
                self.client.kill()
            said = self.client.result(self.report)
        finally:
            state = scraper.stop()
            if tables is not None:
                shutil.rmtree(tables)
        self._seal([state] if state else [], ENGINE_STATE)
        if isinstance(said, Done):
            part = replace(part, window=Interval(said.window_start_us, said.window_end_us))
            self.highest_rate_per_s = said.highest_rate_per_s
        self._seal(self._request_segments(said), REQUESTS)
        self._traces += seal_power(started_us)
        failure_class, error, engine_log = self._failure(said)
        return TrialResult(
            outcome="failed" if failure_class else "done",
            reasons=said.reasons if isinstance(said, Done) else (),
            part=part,
            started_us=started_us,
            ended_us=self.clock.now_us(),
            traces=tuple(self._traces),
            client=_health(said) if isinstance(said, Done) else None,
            failure_class=failure_class,
            error=error,
            engine_log=engine_log,
        )

    def interrupt(self) -> None:
        """End the trial now; its result will say so."""
        self.interrupted = True
        if self.client is not None:
            self.client.kill()

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

    def _write_tables(self) -> Path | None:
        """Write the files that the workload names where the client finds them; None where it names none."""
        if not self.order.tables.files:
            return None
        folder = self.spool.parent / "tables" / self.order.trial
        self.order.tables.write(folder)
        return folder

    def _job(self, tables: Path | None) -> ClientJob:
        cell, api = self.order.cell, self.host.engine.api
        return ClientJob(
            trial=self.order.trial,
            node=self.node,
            clock=self.clock,
            url=self.host.base_url,
            model=self.host.facts.served_name,
            spool=str(self.spool),
            workload=cell.workload,
            tables=str(tables) if tables else None,
            vocab_size=self.order.vocab_size,
            prompt_seed=self.order.prompt_seed,
            warmup_s=cell.window.warmup_s,
            window_s=cell.window.window_s,
            body={**api.body, **cell.workload.request},
            fixed_length=api.fixed_length,
            request_timeout_s=REQUEST_TIMEOUT_S,
            drain_s=DRAIN_S,
            reuse_connections=api.reuse_connections,
            api_key=self.host.facts.api_key,
            highest_rate_per_s=self.highest_rate_per_s,
        )

    def _request_segments(self, said: Done | Broken) -> list[Path]:
        if isinstance(said, Done):
            return [Path(segment) for segment in said.segments]
        # The client ended early: what it wrote until then counts all the same.
        return [s for s in leftovers(self.spool) if s.name.startswith(f"requests-{self.order.trial}-w")]

    def _seal(self, segments: Sequence[Path], dataset: Dataset) -> None:
        trace = seal_together(self.warehouse, dataset, segments, trial_file(dataset.name, self.order.trial))
        if trace is not None:
            self._traces.append(trace)


def _health(done: Done) -> ClientHealth:
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
    )


def settle(seconds: float) -> None:
    """Wait until the sampler has read past an instant that has just gone by."""
    time.sleep(seconds)
