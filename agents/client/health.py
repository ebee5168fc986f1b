"""How one client process itself fared: lateness of its event loop and its share of one core, over exact intervals."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass, field

import numpy as np

from joulemark.agents.client.alarm import Alarm

BEAT_NS = 10_000_000


@dataclass
class LoopHealth:
    """Beats every ``BEAT_NS`` at absolute instants and keeps when each was due, how late it came, and the CPU time.

    A beat that the loop slept through counts as late too, so that one long stall is not one late beat.
    """

    _due_ns: array[int] = field(default_factory=lambda: array("q"))
    _late_ns: array[int] = field(default_factory=lambda: array("q"))
    _cpu_at_ns: array[int] = field(default_factory=lambda: array("q"))
    _cpu_ns: array[int] = field(default_factory=lambda: array("q"))
    _next_ns: int = 0
    _alarm: Alarm | None = None

    def start(self) -> None:
        """Begin to beat on the running loop."""
        self._alarm = Alarm(self._beat)
        self._next_ns = time.monotonic_ns() + BEAT_NS
        self._alarm.set(self._next_ns, BEAT_NS)

    def stop(self) -> None:
        """Beat no more."""
        assert self._alarm is not None
        self._alarm.close()

    def result(self, start_ns: int, end_ns: int) -> tuple[int, float]:
        """Return (p99 of the lateness in microseconds, CPU seconds per second) between two monotonic instants."""
        due = np.frombuffer(self._due_ns, dtype=np.int64)
        inside = np.frombuffer(self._late_ns, dtype=np.int64)[(due >= start_ns) & (due < end_ns)]
        lag_us = int(np.percentile(inside, 99, method="higher")) // 1000 if len(inside) else 0
        at = np.frombuffer(self._cpu_at_ns, dtype=np.int64)
        used = np.interp((start_ns, end_ns), at, np.frombuffer(self._cpu_ns, dtype=np.int64))
        return lag_us, float(used[1] - used[0]) / max(1, end_ns - start_ns)

    def _beat(self, times: int) -> None:
        now_ns = time.monotonic_ns()
        for _ in range(times):
            self._due_ns.append(self._next_ns)
            self._late_ns.append(max(0, now_ns - self._next_ns))
            self._next_ns += BEAT_NS
        self._cpu_at_ns.append(now_ns)
        self._cpu_ns.append(time.process_time_ns())
