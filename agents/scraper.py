"""Scrapes the engine's own counters at 1 Hz while a trial runs, from about when its load begins until after its end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from joulemark.agents.clock import NodeClock
from joulemark.agents.engines.serving import Serving
from joulemark.agents.prometheus import summed
from joulemark.agents.spool.segment import SegmentWriter
from joulemark.warehouse.schema.traces import ENGINE_STATE

PERIOD_S = 1.0
COUNTS = tuple(c.name for c in ENGINE_STATE.columns if c.type == pa.int64())


@dataclass
class Scraper:
    """A thread that writes ``engine_state`` rows of one trial."""

    host: Serving
    trial: str
    node: str
    spool: Path
    clock: NodeClock
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _writer: SegmentWriter | None = None

    def start(self) -> None:
        """Begin to scrape."""
        self._writer = SegmentWriter(ENGINE_STATE, self.spool, f"engine_state-{self.trial}")
        self._thread = threading.Thread(target=self._run, name="scraper", daemon=True)
        self._thread.start()

    def stop(self) -> Path | None:
        """End it and return the segment with its rows."""
        self._stop.set()
        assert self._thread is not None
        assert self._writer is not None
        self._thread.join()
        return self._writer.rotate()

    def _run(self) -> None:
        self._scrape()
        while not self._stop.wait(PERIOD_S):
            self._scrape()
        self._scrape()

    def _scrape(self) -> None:
        before_us = self.clock.now_us()
        page = self.host.metrics()
        if page is None:
            return
        instant_us = (before_us + self.clock.now_us()) // 2
        state = self.host.engine.engine_state(summed(page))
        columns = {c.name: state.get(c.name) for c in ENGINE_STATE.columns[3:]}
        for name in COUNTS:
            value = columns[name]
            columns[name] = round(value) if value is not None else None
        assert self._writer is not None
        self._writer.add({"trial": self.trial, "node": self.node, "t": instant_us, **columns})
