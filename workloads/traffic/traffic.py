"""Traffic: which requests there are and when they are due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.traffic.arrivals import Schedule
from joulemark.workloads.traffic.draws import phase_of
from joulemark.workloads.traffic.request import Request

SEARCH_PHASE = (1 << 64) - 1


class Source(Protocol):
    """Where requests come from."""

    def request(self, number: int) -> Request:
        """Return request ``number``, the same each time."""

    def in_phase(self, phase: int) -> Source:
        """Return requests alike, with other prompts where prompts are random."""


@dataclass(frozen=True)
class Traffic:
    """Requests and, in an open loop, their schedule. Conversation i has the requests from ``i * turns`` on."""

    source: Source
    schedule: Schedule | None = None
    turns: int = 1

    @property
    def open_loop(self) -> bool:
        """Whether requests are sent when they are due, not when others were answered."""
        return self.schedule is not None

    @property
    def steady(self) -> bool:
        """Whether its rate is meant to stay the same."""
        return self.schedule is None or self.schedule.steady

    @property
    def duration_s(self) -> float | None:
        """Length of the schedule in seconds where it has an end."""
        return None if self.schedule is None else self.schedule.duration_s

    def due_s(self) -> Iterator[float]:
        """Yield when conversation 0, 1, 2, ... is due, in seconds from the load's begin; never decreasing.

        Raises BadInput in a closed loop, and where the rate is still to be found.
        """
        if self.schedule is None:
            raise BadInput("a closed loop has no schedule")
        return self.schedule.due_s()

    def request(self, number: int) -> Request:
        """Return request ``number``: at random access, from the seeds alone."""
        return self.source.request(number)

    def at_rate(self, rate_per_s: float) -> Traffic:
        """Return the same traffic at another mean rate (conversations/s): the same gaps in another scale.

        Lengths stay as they are, but random prompts are other ones at every rate, so that no engine has them in its
        cache from a search. Raises BadInput where it is not open loop and steady.
        """
        if self.schedule is None:
            raise BadInput("a closed loop has no rate")
        return replace(
            self, schedule=self.schedule.at_rate(rate_per_s), source=self.source.in_phase(phase_of(rate_per_s))
        )

    def saturating(self) -> Traffic:
        """Return requests alike, with other random prompts, as a closed loop."""
        return replace(self, schedule=None, source=self.source.in_phase(SEARCH_PHASE))
