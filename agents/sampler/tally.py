"""The rounds of reading one meter, summed up to about one row a second of the ``rounds`` dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from joulemark.agents.meters.meter import Reading
from joulemark.warehouse.units import NS_PER_US

LATE_NS = 2_000_000
PROCESSES = ("sampler", "agent")
"""Names in the column ``meter`` of the rows that hold a process's CPU time."""


@dataclass
class Tally:
    """What happened to one meter since its last row. Times in nanoseconds of the monotonic clock."""

    since_ns: int
    last_ns: int = 0
    rounds: int = 0
    skipped: int = 0
    late: int = 0
    lateness_max_ns: int = 0
    duration_ns: int = 0
    duration_max_ns: int = 0
    cpu_ns: int = 0
    readings: int = 0
    missing: int = 0
    failed: int = 0
    error: str | None = None

    def add(self, due_ns: int, begun_ns: int, ended_ns: int, cpu_ns: int, readings: Sequence[Reading]) -> None:
        """Count one round that was due at ``due_ns``."""
        lateness_ns, duration_ns = begun_ns - due_ns, ended_ns - begun_ns
        self.last_ns = (begun_ns + ended_ns) // 2
        self.rounds += 1
        self.late += lateness_ns > LATE_NS
        self.lateness_max_ns = max(self.lateness_max_ns, lateness_ns)
        self.duration_ns += duration_ns
        self.duration_max_ns = max(self.duration_max_ns, duration_ns)
        self.cpu_ns += cpu_ns
        self.readings += len(readings)
        for reading in readings:
            if reading.power_mw is None and reading.energy_uj is None:
                self.missing += 1
                self.error = reading.reason

    def row(self, node: str, meter: str, t_us: int, now_ns: int) -> dict[str, Any]:
        """Return the row; ``t_us`` is the instant of ``last_ns``."""
        return {
            "node": node,
            "meter": meter,
            "t": t_us,
            "span_us": (now_ns - self.since_ns) // NS_PER_US,
            "rounds": self.rounds,
            "skipped": self.skipped,
            "late": self.late,
            "lateness_max_us": self.lateness_max_ns // NS_PER_US,
            "duration_us": self.duration_ns // NS_PER_US,
            "duration_max_us": self.duration_max_ns // NS_PER_US,
            "readings": self.readings,
            "missing": self.missing,
            "failed": self.failed,
            "error": self.error,
            "cpu_us": self.cpu_ns // NS_PER_US,
        }


@dataclass
class ProcessClock:
    """CPU time of a process from row to row; ``last_ns`` is None where it could not be read."""

    name: str
    last_ns: int | None
    since_ns: int

    def row(self, node: str, t_us: int, now_ns: int, cpu_ns: int | None) -> dict[str, Any]:
        """Return the row, given the process's CPU time until now."""
        used_ns = None if cpu_ns is None or self.last_ns is None else cpu_ns - self.last_ns
        span_ns = now_ns - self.since_ns
        self.last_ns, self.since_ns = cpu_ns, now_ns
        return {
            "node": node,
            "meter": self.name,
            "t": t_us,
            "span_us": span_ns // NS_PER_US,
            "cpu_us": None if used_ns is None else used_ns // NS_PER_US,
        }
