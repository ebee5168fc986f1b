"""Where no counter can be read: watts of the engine's process tree from its CPU time.

Power is idle watts plus the tree's share of the machine's CPU time, times the distance from idle to full-load watts:
P = P_idle + (P_full - P_idle) x (CPU seconds of the tree / (seconds x logical CPUs)). It is a model, and every record
says so. All idle watts are the engine's, as if it had the machine to itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from joulemark.agents.meters.cpu_watts import CpuWatts
from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.meters.process_tree import ProcessTree

CHANNEL = Channel("cpu", "cpu_process", "modelled")
CHANGES_OF_CPU_POWER_S = 0.02
"""Shorter intervals between reads are not worth a new power value."""


@dataclass
class CpuModelMeter:
    """The model as a meter with a cumulative counter and a power reading."""

    watts: CpuWatts
    tree: ProcessTree = field(default_factory=ProcessTree)
    name: str = "cpu-model"
    every_s: float = 0.1
    """CPU time has no update period: it can be read at any pace."""
    _last: tuple[int, int] | None = None
    _energy_uj: float = 0.0

    @property
    def channels(self) -> tuple[Channel, ...]:
        """One: the engine's process tree."""
        return (CHANNEL,)

    def read(self) -> list[Reading]:
        """Return energy since the first read and mean power since the last."""
        now_ns, cpu_ns = time.monotonic_ns(), self.tree.cpu_ns()
        last, self._last = self._last, (now_ns, cpu_ns)
        if last is None:
            return [Reading(CHANNEL, None, 0, "cpu-model: first read")]
        elapsed_ns, used_ns = now_ns - last[0], cpu_ns - last[1]
        busy = min(1.0, used_ns / (elapsed_ns * self.watts.logical_cpus))
        power_w = self.watts.idle_w + (self.watts.full_w - self.watts.idle_w) * busy
        self._energy_uj += power_w * elapsed_ns / 1e3
        if elapsed_ns < CHANGES_OF_CPU_POWER_S * 1e9:
            return [Reading(CHANNEL, None, round(self._energy_uj), "cpu-model: read too soon after the last")]
        return [Reading(CHANNEL, round(power_w * 1e3), round(self._energy_uj))]

    def describe(self) -> dict[str, object]:
        """Return the watts of the model and where they come from."""
        return {
            "source": self.watts.source,
            "idle_w": round(self.watts.idle_w, 3),
            "full_w": round(self.watts.full_w, 3),
            "logical_cpus": self.watts.logical_cpus,
        }
