"""The load of one trial: the client's processes, and their requests sealed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from joulemark.agents.client.conductor import Conductor
from joulemark.agents.client.job import Broken, ClientJob, Done, Progress
from joulemark.agents.clock import NodeClock
from joulemark.agents.node_things import NodeThings
from joulemark.agents.orders import Loaded, Target, TrialOrder
from joulemark.agents.spool.seal import leftovers, seal_together
from joulemark.warehouse.schema.traces import REQUESTS
from joulemark.warehouse.store.layout import trial_file

REQUEST_TIMEOUT_S = 600.0
DRAIN_S = 120.0


@dataclass
class Load:
    """The load of a trial on a server. Its instants are those of ``clock``; ``cpus`` are its own, None for any."""

    things: NodeThings
    order: TrialOrder
    target: Target
    clock: NodeClock
    report: Callable[[Progress], None]
    cpus: tuple[int, ...] | None = None
    interrupted: bool = False
    _client: Conductor | None = field(default=None, init=False)

    def run(self) -> Loaded:
        """Run it to its end and seal its requests. Raises DiskFull."""
        tables = self._write_tables()
        try:
            self._client = Conductor.start(self._job(tables), self.cpus)
            if self.interrupted:
                self._client.kill()
            said = self._client.result(self.report)
        finally:
            if tables is not None:
                shutil.rmtree(tables)
        name = trial_file(REQUESTS.name, self.order.trial)
        trace = seal_together(self.things.warehouse, REQUESTS, self._segments(said), name)
        return Loaded(said, (trace,) if trace else ())

    def interrupt(self) -> None:
        """End it now, from any thread."""
        self.interrupted = True
        if self._client is not None:
            self._client.kill()

    def _write_tables(self) -> Path | None:
        """Write the files that the workload names where the client finds them; None where it names none."""
        if not self.order.tables.files:
            return None
        folder = self.things.power.spool.parent / "tables" / self.order.trial
        self.order.tables.write(folder)
        return folder

    def _job(self, tables: Path | None) -> ClientJob:
        cell, target = self.order.cell, self.target
        return ClientJob(
            trial=self.order.trial,
            node=self.things.config.node,
            clock=self.clock,
            url=target.url,
            model=target.model,
            spool=str(self.things.power.spool),
            workload=cell.workload,
            tables=str(tables) if tables else None,
            vocab_size=self.order.vocab_size,
            prompt_seed=self.order.prompt_seed,
            warmup_s=cell.window.warmup_s,
            window_s=cell.window.window_s,
            body={**target.api.body, **cell.workload.request},
            fixed_length=target.api.fixed_length,
            request_timeout_s=REQUEST_TIMEOUT_S,
            drain_s=DRAIN_S,
            reuse_connections=target.api.reuse_connections,
            api_key=target.api_key,
            highest_rate_per_s=target.highest_rate_per_s,
        )

    def _segments(self, said: Done | Broken) -> list[Path]:
        if isinstance(said, Done):
            return [Path(segment) for segment in said.segments]
        # The client ended early: what it wrote until then counts all the same.
        return [s for s in leftovers(self.things.power.spool) if s.name.startswith(f"requests-{self.order.trial}-w")]
