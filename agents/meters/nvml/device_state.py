"""Slower facts of every GPU, once a second: the rows of the dataset ``device_state``.

The GPUs take turns within the second, so that a round never holds up the sampler for longer than one GPU takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from joulemark.agents.clock import NodeClock
from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import FieldRead, GpmSamples, Handle, NvmlError
from joulemark.agents.meters.nvml.gpus import Gpu, Gpus
from joulemark.agents.meters.nvml.owners import Owners

T = TypeVar("T")
PERIOD_S = 1.0
GPM_AGE_S = (0.1, 10.0)
"""Activity is given over the time between two samples, where that is this long: the counters are not made for less."""
ACTIVITY = {"sm_active": api.GPM_SM, "tensor_active": api.GPM_TENSOR, "dram_active": api.GPM_DRAM}


@dataclass
class Activity:
    """Activity of one GPU's units between two calls of ``read``."""

    samples: GpmSamples
    taken_at: float | None = None

    @classmethod
    def of(cls, handle: Handle) -> Activity | None:
        """Return it, or None where the GPU does not count activity (before Hopper)."""
        try:
            return cls(GpmSamples()) if GpmSamples.supported(handle) else None
        except NvmlError:
            return None

    def read(self, handle: Handle) -> dict[str, float | None]:
        """Return the shares since the last call, 0 to 1; None at the first. Raises NvmlError."""
        before, self.taken_at = self.taken_at, None
        self.samples.take(handle)
        self.taken_at = time.monotonic()
        if before is None or not GPM_AGE_S[0] <= self.taken_at - before <= GPM_AGE_S[1]:
            return dict.fromkeys(ACTIVITY)
        return dict(zip(ACTIVITY, self.samples.shares(list(ACTIVITY.values())), strict=True))


@dataclass
class DeviceStates:
    """All GPUs of the node. What cannot be read is None."""

    node: str
    clock: NodeClock
    gpus: Gpus
    owners: Owners = field(default_factory=Owners)
    _activity: dict[str, Activity | None] = field(default_factory=dict)
    _memory_temperature: FieldRead = field(default_factory=lambda: FieldRead((api.MEMORY_TEMPERATURE,)))
    next_at_s: float = 0.0
    """When the next turn comes, in ``time.monotonic()`` seconds."""
    _next_s: dict[str, float] = field(default_factory=dict)

    def watch(self, pids: tuple[int, ...]) -> None:
        """Take the process trees of ``pids`` for the deployment's; all other processes are foreign."""
        self.owners.watch(pids)

    def read(self) -> list[dict[str, object]]:
        """Return one row per GPU."""
        return [self._row(gpu) for gpu in self.gpus.gpus.values()]

    def due(self, now_s: float) -> list[dict[str, object]]:
        """Return the rows of the GPUs whose turn has come at ``time.monotonic()`` = ``now_s``, mostly none or one."""
        if not self._next_s:
            turns = enumerate(self.gpus.gpus)
            self._next_s = {u: now_s + i * PERIOD_S / len(self.gpus.gpus) for i, u in turns}
        rows = []
        for uuid, turn_s in self._next_s.items():
            if turn_s <= now_s:
                # Turns that were missed are not made up for.
                self._next_s[uuid] = turn_s + PERIOD_S * (1 + (now_s - turn_s) // PERIOD_S)
                rows.append(self._row(self.gpus.gpus[uuid]))
        self.next_at_s = min(self._next_s.values())
        return rows

    def _row(self, gpu: Gpu) -> dict[str, object]:
        def say(call: Callable[[Handle], T]) -> T | None:
            try:
                return self.gpus.use(gpu, call)
            except NvmlError:
                return None

        before_ns = time.monotonic_ns()
        facts = {
            "sm_mhz": say(api.sm_mhz),
            "mem_mhz": say(api.memory_mhz),
            "temperature_c": say(api.temperature_c),
            "memory_temperature_c": say(self._memory_c),
            "utilization": say(api.utilization),
            "memory_used_bytes": say(api.memory_used_bytes),
            "power_limit_mw": say(api.enforced_limit_mw),
            "throttle_reasons": say(api.throttle_reasons),
        }
        pids = say(api.processes)
        activity = say(lambda handle: self._active(gpu, handle)) or dict.fromkeys(ACTIVITY)
        middle_us = self.clock.at_us((before_ns + time.monotonic_ns()) // 2)
        foreign = None if pids is None else self.owners.foreign(pids)
        return {
            "node": self.node,
            "device": gpu.uuid,
            "t": middle_us,
            **facts,
            **activity,
            "foreign_processes": foreign,
        }

    def _memory_c(self, handle: Handle) -> int | None:
        (answer,) = self._memory_temperature.read(handle)
        # Memory without a sensor may answer 0.
        return None if isinstance(answer, NvmlError) else answer or None

    def _active(self, gpu: Gpu, handle: Handle) -> dict[str, float | None]:
        if gpu.uuid not in self._activity:
            # Under MIG activity is counted per instance only.
            self._activity[gpu.uuid] = None if gpu.mig is not None else Activity.of(handle)
        activity = self._activity[gpu.uuid]
        return dict.fromkeys(ACTIVITY) if activity is None else activity.read(handle)
