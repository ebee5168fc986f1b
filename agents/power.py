"""The node's continuous power trace: the sampler, its spool folder, and sealing between trials."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from joulemark.agents.clock import boot_id
from joulemark.agents.orders import AgentConfig
from joulemark.agents.sampler.process import COMMAND, SamplerProcess
from joulemark.agents.sampler.protocol import SamplerConfig
from joulemark.agents.spool.recover import recover, rings
from joulemark.agents.spool.seal import leftovers, seal
from joulemark.agents.spool.segment import DRAFT
from joulemark.agents.trial import settle
from joulemark.warehouse.schema.datasets import DATASETS
from joulemark.warehouse.schema.traces import DEVICE_STATE, POWER, ROUNDS
from joulemark.warehouse.schema.trial import Trace
from joulemark.warehouse.store.layout import segment_file
from joulemark.warehouse.store.location import Warehouse

SAMPLED = (POWER.name, ROUNDS.name, DEVICE_STATE.name)
"""What the sampler writes; a segment's name begins with its dataset's."""
REMEMBERED = 1000
"""How many of the latest traces are known, for trials that run while others end."""
ENDING_S = 20.0
"""How long the sampler of an agent that was killed may take to write its last segment."""


@dataclass
class PowerTrace:
    """Sampling from ``start`` to ``close``; every ``seal`` moves what was sampled so far into the warehouse."""

    node: str
    spool: Path
    warehouse: Warehouse
    sampler: SamplerProcess
    _sealing: threading.Lock = field(default_factory=threading.Lock)
    _sealed: deque[Trace] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @classmethod
    def start(
        cls, config: AgentConfig, folder: Path, warehouse: Warehouse, command: tuple[str, ...] = COMMAND
    ) -> PowerTrace:
        """Seal what a crash left of this node's trace below ``folder``, and start the sampler."""
        spool = folder / "spool"
        spool.mkdir(parents=True, exist_ok=True)
        sampling = SamplerConfig(
            config.node,
            str(spool),
            config.sample_period_s,
            config.cpu_watts,
            cpu_engines=config.cpu_engines,
            sources=config.meters,
            window_s=config.window_s,
            simulated_gpus=config.simulated_gpus,
        )
        sampler = SamplerProcess(sampling, command)
        trace = cls(config.node, spool, warehouse, sampler)
        trace._seal_dead(ENDING_S)
        # Requests of a trial that never got its manifest: the trial will be run again under another name.
        for rest in [*(s for s in leftovers(spool) if not _sampled(s)), *spool.glob(f"*{DRAFT}")]:
            rest.unlink()
        sampler.start()
        return trace

    def seal(self, since_us: int | None = None) -> list[Trace]:
        """Seal everything sampled up to now, including a reading after this call.

        Return its traces, and those that were sealed before, for another trial, and reach past ``since_us``.
        """
        with self._sealing:
            settle(self.sampler.settle_s)
            before = [
                t for t in self._sealed if since_us is not None and t.last_us is not None and t.last_us >= since_us
            ]
            new = self._seal_all(self.sampler.rotate()) + self._seal_dead()
            self._sealed.extend(new)
            return before + new

    def close(self) -> None:
        """End sampling and seal the rest."""
        with self._sealing:
            self.sampler.stop()
            self.sampler.run = ""
            self._seal_dead(ENDING_S)

    def _seal_dead(self, patience_s: float = 0.0) -> list[Trace]:
        """Seal what samplers left that are no more; with patience, wait for those that are just ending."""
        give_up = time.monotonic() + patience_s
        living = set()
        for ring in rings(self.spool):
            run = ring.stem.partition("-")[2]
            while run != self.sampler.run:
                try:
                    recover(ring, boot_id())
                    break
                except FileNotFoundError:
                    # It ended well while we waited.
                    break
                except BlockingIOError:
                    if time.monotonic() >= give_up:
                        living.add(run)
                        break
                    time.sleep(0.05)
        left = leftovers(self.spool)
        # Asked for after looking: a sampler that begins from now on has no file among these.
        living.add(self.sampler.run)
        return self._seal_all(s for s in left if _sampled(s) and not any(run and run in s.stem for run in living))

    def _seal_all(self, segments: Iterable[Path]) -> list[Trace]:
        traces = []
        for segment in segments:
            dataset = DATASETS[_dataset(segment)]
            trace = seal(self.warehouse, dataset, segment, segment_file(dataset.name, self.node, segment.stem))
            traces += [trace] if trace else []
        return traces


def _dataset(segment: Path) -> str:
    return segment.name.partition("-")[0]


def _sampled(segment: Path) -> bool:
    return _dataset(segment) in SAMPLED
