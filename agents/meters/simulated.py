"""The meter of simulated GPUs: reads the counters that the simulated engine keeps; fidelity ``simulated``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from joulemark.agents.clock import NodeClock
from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.simulation.gpu_file import GpuFile, GpuState, gpu_path, gpu_uuid
from joulemark.warehouse.units import MW_PER_W, NS_PER_US
from joulemark.workloads.simulation.hardware import simulated_gpus

FIDELITY = "simulated"
SOFTWARE_POWER_CAP = 4
"""NVML's bit for it among the clock event reasons."""
STATE_EVERY_S = 1.0
EVERY_S = 0.05
"""As often as a real board is read."""


@dataclass
class SimulatedBoard:
    """One simulated GPU as the meter sees it."""

    channel: Channel
    label: str
    gpu: GpuFile
    bare_idle_w: float
    _last: tuple[int, float] | None = None

    def read(self) -> Reading:
        """Return counter and mean power since the read before, at this instant."""
        try:
            state = self._state()
        except OSError as error:
            return Reading(self.channel, None, None, f"simulated: {error}")
        now_ns = time.monotonic_ns()
        energy_uj = state.energy_at_uj(now_ns)
        watts = state.watts_at(now_ns)
        if self._last is not None and now_ns > self._last[0]:
            watts = (energy_uj - self._last[1]) * NS_PER_US / (now_ns - self._last[0])
        self._last = now_ns, energy_uj
        return Reading(self.channel, round(watts * MW_PER_W), round(energy_uj), at_ns=now_ns)

    def _state(self) -> GpuState:
        state = self.gpu.read()
        if state.pid and not Path(f"/proc/{state.pid}").exists():
            self.gpu.leave(state.pid, self.bare_idle_w)
            state = self.gpu.read()
        return state


@dataclass
class SimulatedMeter:
    """All simulated GPUs of the node."""

    boards: list[SimulatedBoard]
    name: str = "simulated"
    every_s: float = EVERY_S

    @classmethod
    def of(cls, folder: Path, node: str, gpus: Mapping[str, int]) -> SimulatedMeter:
        """Return the meter of so many GPUs of each label; those that are new are made below the node's ``folder``."""
        return cls([_board(folder, node, label, i) for label, count in gpus.items() for i in range(count)])

    @property
    def channels(self) -> tuple[Channel, ...]:
        """One per GPU."""
        return tuple(b.channel for b in self.boards)

    def read(self) -> list[Reading]:
        """Read every GPU."""
        return [b.read() for b in self.boards]

    def describe(self) -> dict[str, object]:
        """Return the boards, and that there are none."""
        return {
            "source": "joulemark's own model of GPUs; nothing of it was measured",
            "boards": {b.channel.device: f"simulated {b.label}" for b in self.boards},
        }


@dataclass
class SimulatedStates:
    """Slower facts of the simulated GPUs, once a second: what a real board would say of its units, and no more."""

    node: str
    clock: NodeClock
    meter: SimulatedMeter
    next_at_s: float = 0.0
    _before: dict[str, tuple[int, float, float]] = field(default_factory=dict)

    def watch(self, pids: tuple[int, ...]) -> None:
        """Nobody else is ever on a GPU that is not there."""

    def due(self, now_s: float) -> list[dict[str, object]]:
        """Return one row per GPU."""
        self.next_at_s = now_s + STATE_EVERY_S
        return [self._row(board) for board in self.meter.boards]

    def _row(self, board: SimulatedBoard) -> dict[str, object]:
        now_ns = time.monotonic_ns()
        row: dict[str, object] = {"node": self.node, "device": board.channel.device, "t": self.clock.at_us(now_ns)}
        try:
            state = board.gpu.read()
        except OSError:
            # The power reading of this moment says what is wrong.
            return row
        worked = now_ns, *state.worked_at_ns(now_ns)
        before, self._before[board.channel.device] = self._before.get(board.channel.device), worked
        if before is not None and now_ns > before[0]:
            for name, now, then in zip(("tensor_active", "dram_active"), worked[1:], before[1:], strict=True):
                row[name] = (now - then) / (now_ns - before[0])
        if state.pid:
            capped = state.watts_at(now_ns) >= state.limit_w
            row |= {"memory_used_bytes": round(state.memory_bytes), "power_limit_mw": round(state.limit_w * MW_PER_W)}
            row |= {"throttle_reasons": SOFTWARE_POWER_CAP if capped else 0, "foreign_processes": 0}
        return row


def _board(folder: Path, node: str, label: str, index: int) -> SimulatedBoard:
    bare_idle_w = simulated_gpus()[label].idle_w[0]
    channel = Channel(gpu_uuid(node, label, index), "gpu_board", FIDELITY)
    return SimulatedBoard(channel, label, GpuFile.make(gpu_path(folder, label, index), bare_idle_w), bare_idle_w)
