"""All rows of one load client as columns, and exact figures from them: nothing here is merged from summaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joulemark.agents.spool.segment import read_segment

Whole = npt.NDArray[np.int64]
_COLUMNS = ("request", "scheduled_at", "sent_at", "ended_at", "status", "error")


@dataclass(frozen=True)
class Rows:
    """The requests of a trial, in the order of their numbers; instants in microseconds."""

    request: Whole
    scheduled_us: Whole
    sent_us: Whole
    ended_us: Whole
    status: npt.NDArray[Any]
    error: npt.NDArray[Any]

    @classmethod
    def of(cls, segments: Sequence[Path], below: int) -> Rows:
        """Read those with numbers below ``below`` from segments."""
        tables = [read_segment(segment, _COLUMNS) for segment in segments]
        if not tables:
            none = np.zeros(0, dtype=np.int64)
            return cls(none, none, none, none, none.astype(object), none.astype(object))
        table = pa.concat_tables(tables).sort_by("request")
        numbers = [table[name].cast(pa.int64()).to_numpy() for name in _COLUMNS[:4]]
        words = [table[name].to_numpy(zero_copy_only=False) for name in _COLUMNS[4:]]
        own = numbers[0] < below
        return cls(*(column[own] for column in (*numbers, *words)))

    def ended_in(self, start_us: int, end_us: int) -> npt.NDArray[np.bool_]:
        """Return which ended in [start, end)."""
        return (self.ended_us >= start_us) & (self.ended_us < end_us)

    def median_us(self, start_us: int, end_us: int) -> int | None:
        """Return the median duration of whole answers that were being given in [start, end); None where none were."""
        inside = (self.status == "ok") & (self.ended_us > start_us) & (self.sent_us < end_us)
        durations = (self.ended_us - self.sent_us)[inside]
        return round(float(np.median(durations))) if len(durations) else None

    def late_us(self, start_us: int, end_us: int) -> Whole:
        """Return how late each that was due in [start, end) was sent."""
        inside = (self.scheduled_us >= start_us) & (self.scheduled_us < end_us)
        return (self.sent_us - self.scheduled_us)[inside]


def overlap_us(begin_us: Whole, end_us: Whole, start_us: int, stop_us: int) -> int:
    """Return how much of the intervals lies in [start, stop), summed."""
    return int(np.maximum(0, np.minimum(end_us, stop_us) - np.maximum(begin_us, start_us)).sum())


def most_at_once(begin_us: Whole, end_us: Whole, start_us: int, stop_us: int) -> int:
    """Return the highest number of intervals that held at one instant of [start, stop)."""
    inside = (end_us > start_us) & (begin_us < stop_us) & (end_us > begin_us)
    if not inside.any():
        return 0
    begins = np.sort(np.maximum(begin_us[inside], start_us))
    ends = np.sort(end_us[inside])
    return int((np.arange(1, len(begins) + 1) - np.searchsorted(ends, begins, side="right")).max())
