"""What all lanes of a node share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from joulemark.agents.clock import NodeClock
from joulemark.agents.engines.gpu_memory import GpuMemory
from joulemark.agents.machine import Machine
from joulemark.agents.orders import AgentConfig
from joulemark.agents.power import PowerTrace
from joulemark.agents.power_limits import PowerLimits
from joulemark.warehouse.schema.trial import Interval
from joulemark.warehouse.store.location import Warehouse


@dataclass
class NodeThings:
    """What all lanes of a node share, and which of them holds the machine."""

    config: AgentConfig
    home: Path
    folder: Path
    warehouse: Warehouse
    clock: NodeClock
    power: PowerTrace
    limits: PowerLimits
    interrupted: threading.Event
    memory: GpuMemory = field(default_factory=GpuMemory)
    keys: list[str] = field(default_factory=list)
    cold_idle: dict[tuple[str, ...], Interval] = field(default_factory=dict)
    """By GPUs, where the node is shared; under no GPUs where it is not."""
    pids: dict[int, int] = field(default_factory=dict)
    """The engine's process by lane."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    machine: Machine = field(default_factory=Machine)
    _claiming: threading.Lock = field(default_factory=threading.Lock)
    _claimed: set[int] = field(default_factory=set)

    def claim(self, lane: int, say: Callable[[str], None]) -> None:
        """Hold the machine for a lane; the first one waits while another process does."""
        with self._claiming:
            self.machine.claim(say)
            self._claimed.add(lane)

    def leave(self, lane: int) -> None:
        """Leave the machine to others once no lane holds it."""
        with self._claiming:
            self._claimed.discard(lane)
            if not self._claimed:
                self.machine.release()

    def watch(self, lane: int, pid: int | None) -> None:
        """Have the sampler take a lane's engine for ours, and no other process that the lane had before."""
        with self.lock:
            self.pids.pop(lane, None)
            if pid is not None:
                self.pids[lane] = pid
            self.power.sampler.watch(*self.pids.values())
