"""A simulated GPU: a small mapped file that the simulated engine writes and the meter reads.

It says how much energy the GPU had taken at an instant, and what it takes from then on: busy until an instant, idle
after it. So the counter goes on between two writes and after the last one, and an engine that is killed takes no more
than the step it was in. A writer makes the number of the record odd first and even last; who reads an odd one, or two
different ones, reads again.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import time
from dataclasses import dataclass, replace
from pathlib import Path

from joulemark.warehouse.units import NS_PER_US

_NUMBER = struct.Struct("<q")
_RECORD = struct.Struct("<qqdqdddddddd")
SIZE = 128
ATTEMPTS = 1000
SUFFIX = ".v1.gpu"
"""Another number where the record is laid out otherwise."""


@dataclass(frozen=True)
class GpuState:
    """``energy_uj`` at ``since_ns`` (monotonic), ``busy_w`` until ``busy_until_ns``, ``idle_w`` after.

    ``pid`` is the engine on it, 0 for none. Shares are of the busy time; ``computed_ns`` and ``moved_ns`` are for how
    long arithmetic units and memory have worked until ``since_ns``, counted like the energy.
    """

    pid: int = 0
    since_ns: int = 0
    energy_uj: float = 0.0
    busy_until_ns: int = 0
    busy_w: float = 0.0
    idle_w: float = 0.0
    compute_share: float = 0.0
    memory_share: float = 0.0
    computed_ns: float = 0.0
    moved_ns: float = 0.0
    memory_bytes: float = 0.0
    limit_w: float = 0.0

    def energy_at_uj(self, now_ns: int) -> float:
        """Return the counter at an instant."""
        idle_ns = max(0, now_ns - max(self.since_ns, self.busy_until_ns))
        return self.energy_uj + (self._busy_ns(now_ns) * self.busy_w + idle_ns * self.idle_w) / NS_PER_US

    def worked_at_ns(self, now_ns: int) -> tuple[float, float]:
        """Return for how long arithmetic units and memory have worked until an instant."""
        busy_ns = self._busy_ns(now_ns)
        return self.computed_ns + busy_ns * self.compute_share, self.moved_ns + busy_ns * self.memory_share

    def busy_from(self, begin_ns: int, end_ns: int, watts: float, shares: tuple[float, float]) -> GpuState:
        """Return the state of a GPU that works from one instant to another, and is idle after that."""
        computed_ns, moved_ns = self.worked_at_ns(begin_ns)
        return replace(
            self,
            since_ns=begin_ns,
            energy_uj=self.energy_at_uj(begin_ns),
            busy_until_ns=end_ns,
            busy_w=watts,
            compute_share=shares[0],
            memory_share=shares[1],
            computed_ns=computed_ns,
            moved_ns=moved_ns,
        )

    def watts_at(self, now_ns: int) -> float:
        """Return the power at an instant."""
        return self.busy_w if self.since_ns <= now_ns < self.busy_until_ns else self.idle_w

    def idle_from(self, now_ns: int, idle_w: float, pid: int) -> GpuState:
        """Return the state of a GPU that does nothing from now on."""
        idle = self.busy_from(now_ns, now_ns, idle_w, (0.0, 0.0))
        return replace(idle, pid=pid, idle_w=idle_w, memory_bytes=0.0, limit_w=0.0)

    def _busy_ns(self, now_ns: int) -> int:
        return max(0, min(now_ns, self.busy_until_ns) - self.since_ns)


class GpuFile:
    """One simulated GPU. Several processes may read it; one writes: the engine, or the meter while there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), SIZE)

    @classmethod
    def make(cls, path: Path, bare_idle_w: float) -> GpuFile:
        """Return the GPU at ``path``; one that is not there yet is made, idle."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = path.with_suffix(f".{os.getpid()}")
            draft.write_bytes(bytes(SIZE))
            gpu = cls(draft)
            gpu.write(GpuState().idle_from(time.monotonic_ns(), bare_idle_w, 0))
            gpu.close()
            draft.replace(path)
        gpu = cls(path)
        state = gpu.read()
        if state.since_ns > time.monotonic_ns():
            # The machine has been started anew since, and its monotonic clock with it.
            gpu.write(replace(state, since_ns=0, busy_until_ns=0).idle_from(time.monotonic_ns(), bare_idle_w, 0))
        return gpu

    def read(self) -> GpuState:
        """Return the state. Raises OSError where it is never whole."""
        for _ in range(ATTEMPTS):
            before = _NUMBER.unpack_from(self._map)[0]
            values = _RECORD.unpack_from(self._map, _NUMBER.size)
            if before % 2 == 0 and before == _NUMBER.unpack_from(self._map)[0]:
                return GpuState(*values)
            time.sleep(0)
        raise OSError(f"{self.path} is never whole: its writer was ended in the middle of a write")

    def write(self, state: GpuState) -> None:
        """Replace the state."""
        number = _NUMBER.unpack_from(self._map)[0] | 1
        _NUMBER.pack_into(self._map, 0, number)
        _RECORD.pack_into(
            self._map,
            _NUMBER.size,
            state.pid,
            state.since_ns,
            state.energy_uj,
            state.busy_until_ns,
            state.busy_w,
            state.idle_w,
            state.compute_share,
            state.memory_share,
            state.computed_ns,
            state.moved_ns,
            state.memory_bytes,
            state.limit_w,
        )
        _NUMBER.pack_into(self._map, 0, number + 1)

    def occupy(self, idle_w: float, memory_bytes: float, limit_w: float) -> GpuState:
        """Become the engine on it, and return the state from now on."""
        with self._locked():
            idle = self.read().idle_from(time.monotonic_ns(), idle_w, os.getpid())
            state = replace(idle, memory_bytes=memory_bytes, limit_w=limit_w)
            self.write(state)
        return state

    def leave(self, pid: int, bare_idle_w: float) -> None:
        """Note that the engine ``pid`` is gone, unless another one has come."""
        with self._locked():
            state = self.read()
            if state.pid == pid:
                self.write(state.idle_from(time.monotonic_ns(), bare_idle_w, 0))

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()
        self._file.close()

    def _locked(self) -> _Lock:
        return _Lock(self._file.fileno())


class _Lock:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def gpu_uuid(node: str, label: str, index: int) -> str:
    """Return the UUID of a simulated GPU: the same each time, and none that a real board could have."""
    return f"SIM-{hashlib.sha256(f'{node}/{label}/{index}'.encode()).hexdigest()[:16]}"


def gpu_path(folder: Path, label: str, index: int) -> Path:
    """Return the file of a simulated GPU below a node's folder."""
    return folder / "simulated" / f"{label}-{index}{SUFFIX}"
