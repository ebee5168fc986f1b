"""The node's continuous power trace: the sampler, its spool folder, and sealing between trials."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from joulemark.agents.orders import AgentConfig
from joulemark.agents.sampler.process import SamplerProcess
from joulemark.agents.sampler.protocol import SamplerConfig
from joulemark.agents.spool.seal import leftovers, seal
from joulemark.agents.trial import settle
from joulemark.warehouse.schema.traces import POWER
from joulemark.warehouse.schema.trial import Trace
from joulemark.warehouse.store.layout import segment_file
from joulemark.warehouse.store.location import Warehouse


@dataclass
class PowerTrace:
    """Sampling from ``start`` to ``close``; every ``seal`` moves what was sampled so far into the warehouse."""

    node: str
    spool: Path
    warehouse: Warehouse
    sampler: SamplerProcess
    _sealing: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def start(cls, config: AgentConfig, folder: Path, warehouse: Warehouse) -> PowerTrace:
        """Seal what a crash left of this node's trace below ``folder``, then start the sampler."""
        spool = folder / "spool"
        spool.mkdir(parents=True, exist_ok=True)
        sampler = SamplerProcess(
            SamplerConfig(
                config.node, str(spool), config.sample_period_s, config.cpu_watts, config.meters, config.window_s
            )
        )
        left = leftovers(spool)
        sampler.start()
        trace = cls(config.node, spool, warehouse, sampler)
        for segment in left:
            if segment.name.startswith(POWER.name):
                trace._seal_one(segment)
            else:
                # Requests of a trial that never got its manifest: the trial will be run again under another name.
                segment.unlink()
        return trace

    def seal(self) -> list[Trace]:
        """Seal everything sampled up to now, including a reading after this call."""
        with self._sealing:
            settle(self.sampler.config.period_s, self.sampler.slowest_s)
            segment = self.sampler.rotate()
            trace = self._seal_one(segment) if segment else None
            return [trace] if trace else []

    def close(self) -> None:
        """End sampling and seal the rest."""
        with self._sealing:
            self.sampler.stop()
            for segment in leftovers(self.spool):
                if segment.name.startswith(POWER.name):
                    self._seal_one(segment)

    def _seal_one(self, segment: Path) -> Trace | None:
        return seal(self.warehouse, POWER, segment, segment_file(POWER.name, self.node, segment.stem))
