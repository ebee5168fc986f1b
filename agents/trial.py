"""One trial on a node: load, scrape, and everything sealed into the warehouse before it counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from joulemark.agents.client.job import Broken, ClientJob, Done, Progress
from joulemark.agents.client.process import ClientProcess
from joulemark.agents.clock import NodeClock
from joulemark.agents.engines.serving import Serving
from joulemark.agents.orders import TrialOrder, TrialResult
from joulemark.agents.scraper import Scraper
from joulemark.agents.spool.seal import seal
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
    """A trial in progress."""

    order: TrialOrder
    host: Serving
    clock: NodeClock
    node: str
    spool: Path
    warehouse: Warehouse
    report: Callable[[Progress], None]
    client: ClientProcess | None = None
    interrupted: bool = False
    _traces: list[Trace] = field(default_factory=list)

    def run(self, part: NodePart, seal_power: Callable[[], list[Trace]]) -> TrialResult:
        """Run it and return its result; ``seal_power`` seals what the sampler recorded up to now."""
        started_us = self.clock.now_us()
        scraper = Scraper(self.host, self.order.trial, self.node, self.spool, self.clock)
        scraper.start()
        self.client = ClientProcess.start(self._job())
        if self.interrupted:
            self.client.kill()
        said = self.client.result(self.report)
        self._seal(scraper.stop(), ENGINE_STATE)
        if isinstance(said, Done):
            part = NodePart(
                part.node,
                part.boot,
                part.devices,
                part.accelerator,
                Interval(said.window_start_us, said.window_end_us),
                part.cold_idle,
                part.loaded_idle,
            )
        self._seal(self._request_segment(said), REQUESTS)
        self._traces += seal_power()
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

    def _job(self) -> ClientJob:
        cell, api = self.order.cell, self.host.engine.api
        asked = cell.workload
        # The client takes nothing else so far.
        assert asked.concurrency is not None
        assert isinstance(asked.input_tokens, int)
        assert isinstance(asked.output_tokens, int)
        return ClientJob(
            trial=self.order.trial,
            node=self.node,
            url=self.host.base_url,
            model=self.host.facts.served_name,
            spool=str(self.spool),
            concurrency=asked.concurrency,
            input_tokens=asked.input_tokens,
            output_tokens=asked.output_tokens,
            vocab_size=self.order.vocab_size,
            workload_seed=cell.workload.seed,
            prompt_seed=self.order.prompt_seed,
            warmup_s=cell.window.warmup_s,
            window_s=cell.window.window_s,
            request_timeout_s=REQUEST_TIMEOUT_S,
            drain_s=DRAIN_S,
            body={**api.body, **api.fixed_length, **cell.workload.request},
            reuse_connections=api.reuse_connections,
            api_key=self.host.facts.api_key,
        )

    def _request_segment(self, said: Done | Broken) -> Path | None:
        if isinstance(said, Done):
            return Path(said.segment) if said.segment else None
        # The client ended early: what it wrote until then counts all the same.
        left = sorted(self.spool.glob(f"requests-{self.order.trial}-*"), key=lambda p: p.stat().st_mtime)
        return left[-1] if left else None

    def _seal(self, segment: Path | None, dataset: object) -> None:
        kind = ENGINE_STATE if dataset is ENGINE_STATE else REQUESTS
        if segment is not None:
            trace = seal(self.warehouse, kind, segment, trial_file(kind.name, self.order.trial))
            if trace is not None:
                self._traces.append(trace)


def _health(done: Done) -> ClientHealth:
    return ClientHealth(
        in_flight_fraction=round(done.in_flight_fraction, 5),
        lag_p99_us=done.lag_p99_us,
        cpu_fraction=round(done.cpu_fraction, 4),
        median_request_us=done.median_request_us,
        completed=done.completed,
        failed=done.failed,
    )


def settle(seconds: float) -> None:
    """Wait until the sampler has read past an instant that has just gone by."""
    time.sleep(seconds)
