"""How far two clocks are apart, from messages between them: pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """One question and answer: the asker's clock before and after, the other's in between, in microseconds."""

    before_us: int
    other_us: int
    after_us: int

    @property
    def round_trip_us(self) -> int:
        """Time from question to answer."""
        return self.after_us - self.before_us


@dataclass(frozen=True)
class Offset:
    """Asker's clock less the other's, and how far that may be off; ``at_us`` is on the other's clock."""

    at_us: int
    offset_us: int
    uncertainty_us: int


def offset(exchanges: Sequence[Exchange]) -> Offset:
    """Return what the quickest of some exchanges says.

    The other's clock was read somewhere between question and answer: half the round trip bounds the error, whatever
    the two ways took each. One more microsecond is for the clocks' resolution.
    """
    best = min(exchanges, key=lambda e: e.round_trip_us)
    middle_us = (best.before_us + best.after_us) // 2
    return Offset(best.other_us, middle_us - best.other_us, (best.round_trip_us + 1) // 2 + 1)
