"""CPU time of a process tree, to the nanosecond and without ever going backwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psutil

RESCAN_S = 0.5
CPUCLOCK_SCHED = 2
"""The kernel's number of a process's scheduler clock (see clock_getcpuclockid(3))."""


@dataclass
class ProcessTree:
    """The processes below ``roots``, looked for anew every ``RESCAN_S``; each counts from when it was first seen."""

    roots: tuple[int, ...] = ()
    total_ns: int = 0
    _last_ns: dict[int, int] = field(default_factory=dict)
    _rescan_at: float = 0.0

    def watch(self, roots: tuple[int, ...]) -> None:
        """Replace the roots. CPU time used so far stays in the total; what new roots used before does not count."""
        self.cpu_ns()
        self.roots = roots
        self._last_ns.clear()
        self._rescan(first=True)

    def cpu_ns(self) -> int:
        """Return the CPU time that the tree has used while it was watched, in nanoseconds."""
        if self.roots and time.monotonic() >= self._rescan_at:
            self._rescan(first=False)
        for pid, last_ns in list(self._last_ns.items()):
            now_ns = process_cpu_ns(pid)
            if now_ns is None:
                del self._last_ns[pid]
            else:
                self.total_ns += max(0, now_ns - last_ns)
                self._last_ns[pid] = now_ns
        return self.total_ns

    def _rescan(self, *, first: bool) -> None:
        self._rescan_at = time.monotonic() + RESCAN_S
        for pid in _tree(self.roots):
            if pid not in self._last_ns:
                # A child that appears later has used its CPU time under our eyes; count it from its birth.
                self._last_ns[pid] = (process_cpu_ns(pid) or 0) if first else 0


def _tree(roots: tuple[int, ...]) -> list[int]:
    found = []
    for root in roots:
        try:
            process = psutil.Process(root)
            found += [root, *(c.pid for c in process.children(recursive=True))]
        except psutil.NoSuchProcess:
            continue
    return found


def process_cpu_ns(pid: int) -> int | None:
    """Return the CPU time of a process since it began, in nanoseconds; None where it ended."""
    try:
        return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)
    except OSError:
        return None
