"""The search for the highest sustained rate: a closed loop at doubling concurrency until it answers no faster. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from joulemark.agents.client.job import EndedRequest

FIRST_STREAMS = 4
IMPROVES = 1.05
"""A level that is not this much faster than the best before it is the last."""
FAILED_AT_MOST = 0.01
LEVEL_S = 3.0
LEVEL_DURATIONS = 2.0
"""A level is measured for at least this long, in seconds and in median durations."""


@dataclass
class Level:
    """One level: ``streams`` requests in flight. It settles until as many were answered as there are streams."""

    streams: int
    begun_us: int
    ended: list[EndedRequest] = field(default_factory=list)
    measured_from_us: int | None = None

    def take(self, ended: tuple[EndedRequest, ...]) -> None:
        """Take what ended since the last time."""
        self.ended.extend(e for e in ended if e.ended_us >= self.begun_us)
        if self.measured_from_us is None and len(self.ended) >= 2 * self.streams:
            # Those of the level before are answered, and each stream's first of this one.
            self.measured_from_us = sorted(e.ended_us for e in self.ended)[2 * self.streams - 1]

    def is_over(self, now_us: int) -> bool:
        """Whether it was measured for long enough."""
        measured = self._measured()
        if self.measured_from_us is None or len(measured) < self.streams:
            return False
        long_us = max(LEVEL_S * 1e6, LEVEL_DURATIONS * statistics.median(e.duration_us for e in measured))
        return now_us - self.measured_from_us >= long_us

    @property
    def rate_per_s(self) -> float:
        """Requests answered per second.

        By Little's law: streams over the mean time that a request keeps one. Counting what ended would be off by up to
        the number of streams, since requests of equal length end together.
        """
        measured = self._measured()
        answered = sum(e.answered for e in measured)
        if not measured or len(measured) - answered > FAILED_AT_MOST * len(measured):
            return 0.0
        return self.streams * answered / max(1e-6, sum(e.cycle_us for e in measured) / 1e6)

    def _measured(self) -> list[EndedRequest]:
        since_us = self.measured_from_us
        return [] if since_us is None else [e for e in self.ended if e.ended_us > since_us]


def levels(most: int) -> Iterator[int]:
    """Yield the concurrencies to try: doubling, up to ``most`` itself."""
    streams = min(FIRST_STREAMS, most)
    while True:
        yield streams
        if streams >= most:
            return
        streams = min(2 * streams, most)
