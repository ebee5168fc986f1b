"""How often an exporter's numbers change, and whether that is often enough for the window asked.

An exporter may show the same reading again and again. How often it takes a new one is measured: the time between two
changes of one value, whenever both were seen. A value can also stay the same by chance, so the lower quartile of these
times is taken.

A window needs ``UPDATES_PER_WINDOW`` changes: each of its edges lies up to one change away from what was measured, and
half of one on average, so that with five of them at most the load of two fifths of the window is uncertain, and that
only by how much the load differs before and after the edge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from joulemark.warehouse.errors import MeterError

UPDATES_PER_WINDOW = 5
KEPT = 64
ENOUGH = 2
STALE_PERIODS = 10
STALE_AT_LEAST_S = 10.0


@dataclass
class Refresh:
    """The refresh period of one page. ``given_s`` is the user's word on it, and then nothing is measured."""

    window_s: float | None
    given_s: float | None = None
    _values: dict[Hashable, float] = field(default_factory=dict)
    _changed_at: dict[Hashable, float] = field(default_factory=dict)
    _times_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    _first_at: float | None = None
    _last_at: float = 0.0
    _any_at: float = 0.0

    @property
    def period_s(self) -> float | None:
        """Seconds between two changes; None where not enough of them were seen yet."""
        if self.given_s is not None:
            return self.given_s
        if len(self._times_s) < ENOUGH:
            return None
        return sorted(self._times_s)[len(self._times_s) // 4]

    @property
    def needed_s(self) -> float | None:
        """The longest period that will do; None where no window is asked."""
        return None if self.window_s is None else self.window_s / UPDATES_PER_WINDOW

    def feed(self, at_s: float, values: Mapping[Hashable, float]) -> None:
        """Take the values of one scrape at an instant in seconds."""
        if self._first_at is None:
            self._first_at = self._any_at = at_s
        self._last_at = at_s
        for key, value in values.items():
            if key not in self._values:
                self._values[key] = value
            elif value != self._values[key]:
                if key in self._changed_at:
                    self._times_s.append(at_s - self._changed_at[key])
                self._values[key], self._changed_at[key], self._any_at = value, at_s, at_s

    def known(self, what: str, remedy: str) -> bool:
        """Return whether the numbers may be used; False while it is not known yet.

        Raises MeterError, which begins with ``what`` and holds ``remedy``, where they change too seldom.
        """
        period_s, needed_s = self.period_s, self.needed_s
        if needed_s is None or self._first_at is None:
            return True
        quiet_s = self._last_at - self._any_at
        if period_s is not None and period_s > needed_s:
            raise MeterError(self._slow(what, f"changes every {_short(period_s)} s", needed_s, remedy))
        if self.given_s is None:
            if period_s is None and quiet_s > needed_s:
                raise MeterError(self._slow(what, f"did not change in {_short(needed_s)} s", needed_s, remedy))
            if period_s is not None and quiet_s > max(needed_s, STALE_PERIODS * period_s, STALE_AT_LEAST_S):
                raise MeterError(f"{what} does not change any more; {_UNLESS}")
        return period_s is not None

    def _slow(self, what: str, how: str, needed_s: float, remedy: str) -> str:
        need = f"a window of {self.window_s:g} s needs a change every {_short(needed_s)} s"
        return f"{what} {how}, and {need}: {remedy}; {_UNLESS}"


def _short(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"


_UNLESS = "if only the load is that even, say how often the exporter refreshes with 'refresh' in the site file"
