"""When a meter is read: at absolute deadlines, which neither drift nor pile up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulemark.agents.meters.meter import Meter, Reading
from joulemark.agents.sampler.probe import Probe


@dataclass
class Schedule:
    """One meter's deadlines, every ``interval_ns`` from ``begun_ns`` on, or as its ``probe`` wants them."""

    meter: Meter
    interval_ns: int
    begun_ns: int
    probe: Probe | None = None
    deadline_ns: int = 0
    latest: tuple[int, Sequence[Reading]] = (0, ())
    """The last readings, and when on the monotonic clock in nanoseconds."""

    def __post_init__(self) -> None:
        self.deadline_ns = self.begun_ns

    def advance(self, now_ns: int) -> int:
        """Move on to the first deadline after ``now_ns`` and return how many were skipped for it."""
        if self.probe is not None:
            self.deadline_ns = now_ns + round(self.probe.interval_s * 1e9)
            return 0
        self.deadline_ns += self.interval_ns
        skipped = max(0, now_ns - self.deadline_ns + self.interval_ns - 1) // self.interval_ns
        self.deadline_ns += skipped * self.interval_ns
        return skipped
