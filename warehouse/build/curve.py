"""Cumulative energy over time, from a counter or from power readings: one curve for windows and for shares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from joulemark.warehouse.build.changes import counter_changes, in_order
from joulemark.warehouse.build.updates import power_updates
from joulemark.warehouse.units import MW_PER_W, UJ_PER_J, US_PER_S

Instants = NDArray[np.int64]
Floats = NDArray[np.float64]

LAG_STEPS = 0.25
"""How late a sensor may show what it saw, in update periods, at 95 %. An A100's readings beside an external meter came
less than 20 ms after the 25 ms that they told of, at an update period of 104 ms."""


MANY = 64
"""From so many instants on, guessing where they lie is quicker than searching for each."""


@dataclass(frozen=True)
class Curve:
    """Energy in joules since the first point, at instants in microseconds.

    Between points, power is constant (``power_w`` None: a counter) or goes linearly between ``power_w``.
    ``error_us`` are the standard errors of the instants; a ``current`` counter has moved at every poll, any time since
    the poll before. ``update_us`` is how often what is shown is new (None: at every point, as far as is known),
    ``averaging_us`` over how long a time each power is a mean.
    """

    t_us: Instants
    energy_j: Floats
    power_w: Floats | None = None
    error_us: Floats | None = None
    current: bool = False
    update_us: float | None = None
    averaging_us: int = 0

    @cached_property
    def usual_us(self) -> float:
        """The usual distance of two points; 0 where there are none. It costs as much as the curve itself."""
        return float(np.median(np.diff(self.t_us))) if len(self.t_us) > 1 else 0.0

    @property
    def lag_us(self) -> float:
        """How much later than at its point's instant the energy may have been measured, or earlier, at 95 %."""
        return LAG_STEPS * (self.usual_us if self.update_us is None else self.update_us)

    def instant_error_us(self, segment: int) -> float:
        """Return the standard error of the instants of the points around a segment."""
        if self.current:
            since_poll_us = self.usual_us / math.sqrt(12)
            # Where it moves faster than it is polled, a poll shows where it was up to one update earlier.
            return since_poll_us if self.update_us is None else min(since_poll_us, self.update_us / math.sqrt(3))
        return 0.0 if self.error_us is None else float(self.error_us[segment : segment + 2].max())

    @property
    def total_j(self) -> float:
        """Energy from the first to the last point."""
        return float(self.energy_j[-1] - self.energy_j[0]) if len(self.energy_j) else 0.0

    def at_j(self, t_us: Instants) -> Floats:
        """Return the energy at each instant, which must lie between the first and the last point."""
        if len(self.t_us) == 1:
            return np.zeros(len(t_us))
        segment = self.segment(t_us)
        left, right = self.t_us[segment], self.t_us[segment + 1]
        share = (t_us - left) / (right - left)
        if self.power_w is None:
            return self.energy_j[segment] + share * (self.energy_j[segment + 1] - self.energy_j[segment])
        low, high = self.power_w[segment], self.power_w[segment + 1]
        return self.energy_j[segment] + (low + share * (high - low) / 2) * (t_us - left) / US_PER_S

    def between_j(self, start_us: int, end_us: int) -> float:
        """Return the energy between two instants."""
        start_j, end_j = self.at_j(np.array([start_us, end_us], dtype=np.int64))
        return float(end_j - start_j)

    def brackets(self, edge_us: int, limit_us: float) -> bool:
        """Return whether two points not further apart than ``limit_us`` enclose the edge."""
        if len(self.t_us) < 2 or not self.t_us[0] <= edge_us <= self.t_us[-1]:
            return False
        segment = int(self.segment(np.array([edge_us]))[0])
        return int(self.t_us[segment + 1] - self.t_us[segment]) <= limit_us

    def mean_powers_w(self) -> Floats:
        """Return the mean power between each two points."""
        return np.asarray(np.diff(self.energy_j) / np.diff(self.t_us) * US_PER_S, dtype=np.float64)

    def peak_w(self, start_us: int, end_us: int) -> float | None:
        """Return the highest mean power between two points inside the interval; None where there are none."""
        inside = (self.t_us >= start_us) & (self.t_us <= end_us)
        t_us, energy_j = self.t_us[inside], self.energy_j[inside]
        if len(t_us) < 2:
            return None
        return float((np.diff(energy_j) / np.diff(t_us)).max()) * US_PER_S

    def segment(self, t_us: Instants) -> Instants:
        """Return the number of the point before each instant, of an instant beyond all points that at the end."""
        if len(t_us) < MANY:
            return _held(np.searchsorted(self.t_us, t_us, side="right") - 1, len(self.t_us) - 2)
        return self._near(t_us)

    def _near(self, t_us: Instants) -> Instants:
        """Return the same, begun where an even series would have the instant: a meter is read at even deadlines."""
        points, last = self.t_us, len(self.t_us) - 2
        per_us = (last + 1) / (points[-1] - points[0])
        guess = _held(((t_us - points[0]) * per_us).astype(np.int64), last)
        guess = _held(guess + (t_us >= points[guess + 1]) - (t_us < points[guess]), last)
        wrong = ((t_us < points[guess]) & (guess > 0)) | ((t_us >= points[guess + 1]) & (guess < last))
        if wrong.any():
            guess[wrong] = _held(np.searchsorted(points, t_us[wrong], side="right") - 1, last)
        return guess


def _held(number: Instants, last: int) -> Instants:
    # np.clip looks up the limits of the type at every call.
    return np.minimum(np.maximum(number, 0), last)


def counter_curve(
    t_us: Instants, energy_uj: Instants, start_us: int, end_us: int, update_us: float | None = None
) -> tuple[Curve, bool]:
    """Return the curve through the changes of a counter, and whether it went backwards inside the interval.

    Readings beyond a reset outside the interval are left out. ``update_us`` is how often the counter moves, where that
    was measured: of use where it moves at every poll.
    """
    t_us, energy_uj = in_order(t_us, energy_uj)
    if not len(t_us):
        return Curve(np.empty(0, np.int64), np.empty(0)), False
    first = max(0, int(np.searchsorted(t_us, start_us, side="right")) - 1)
    last = min(len(t_us) - 1, int(np.searchsorted(t_us, end_us, side="left")))
    resets = np.flatnonzero(energy_uj[1:] < energy_uj[:-1]) + 1
    reset = bool(((resets > first) & (resets <= last)).any())
    begin = max((int(r) for r in resets if r <= first), default=0)
    stop = min((int(r) for r in resets if r > last), default=len(t_us))
    t_us, energy_uj = t_us[begin:stop], energy_uj[begin:stop]
    at_us, held_uj, error_us = counter_changes(t_us, energy_uj - energy_uj[0])
    current = error_us is None
    known_us = update_us if current else None
    return Curve(at_us, held_uj / UJ_PER_J, error_us=error_us, current=current, update_us=known_us), reset


def power_curve(t_us: Instants, power_mw: Instants, averaging_us: int = 0) -> Curve:
    """Return the integral of power readings, taken as linear between updates of the field.

    A field that shows the mean over the last ``averaging_us`` tells of the middle of that time.
    """
    t_us, power_mw, period_us = power_updates(*in_order(t_us, power_mw))
    power_w = power_mw / MW_PER_W
    pieces_j = (power_w[1:] + power_w[:-1]) / 2 * np.diff(t_us) / US_PER_S
    energy_j = np.concatenate(([0.0], np.cumsum(pieces_j)))[: len(t_us)]
    middle_us = t_us - averaging_us // 2
    return Curve(middle_us, energy_j, power_w, update_us=period_us, averaging_us=averaging_us)
