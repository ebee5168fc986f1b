"""Cumulative energy over time, from a counter or from power readings: one curve for windows and for shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulemark.warehouse.units import MW_PER_W, UJ_PER_J, US_PER_S

Instants = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Energy in joules since the first point, at instants in microseconds.

    Between points, power is constant (``power_w`` None: a counter) or goes linearly between ``power_w``.
    """

    t_us: Instants
    energy_j: Floats
    power_w: Floats | None = None

    @property
    def total_j(self) -> float:
        """Energy from the first to the last point."""
        return float(self.energy_j[-1] - self.energy_j[0]) if len(self.energy_j) else 0.0

    def at_j(self, t_us: Instants) -> Floats:
        """Return the energy at each instant, which must lie between the first and the last point."""
        if len(self.t_us) == 1:
            return np.zeros(len(t_us))
        segment = self._segment(t_us)
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
        return self._step_us(edge_us) <= limit_us

    def step_j(self, edge_us: int) -> float:
        """Return the energy of the step that encloses the edge.

        A counter's last reading need not be a change: the step then is as large as a usual one.
        """
        segment = int(self._segment(np.array([edge_us]))[0])
        steps_j = np.diff(self.energy_j)
        return float(steps_j[segment] or np.median(steps_j))

    def peak_w(self, start_us: int, end_us: int) -> float | None:
        """Return the highest mean power between two points inside the interval; None where there are none."""
        inside = (self.t_us >= start_us) & (self.t_us <= end_us)
        t_us, energy_j = self.t_us[inside], self.energy_j[inside]
        if len(t_us) < 2:
            return None
        return float((np.diff(energy_j) / np.diff(t_us)).max()) * US_PER_S

    def _segment(self, t_us: Instants) -> Instants:
        return np.clip(np.searchsorted(self.t_us, t_us, side="right") - 1, 0, len(self.t_us) - 2)

    def _step_us(self, edge_us: int) -> int:
        segment = int(self._segment(np.array([edge_us]))[0])
        return int(self.t_us[segment + 1] - self.t_us[segment])


def counter_curve(t_us: Instants, energy_uj: Instants, start_us: int, end_us: int) -> tuple[Curve, bool]:
    """Return the curve through the changes of a counter, and whether it went backwards inside the interval.

    Points are the first and the last reading and every reading that differs from the one before it. Readings beyond a
    reset outside the interval are left out.
    """
    if not len(t_us):
        return Curve(np.empty(0, np.int64), np.empty(0)), False
    first = max(0, int(np.searchsorted(t_us, start_us, side="right")) - 1)
    last = min(len(t_us) - 1, int(np.searchsorted(t_us, end_us, side="left")))
    resets = np.flatnonzero(np.diff(energy_uj) < 0) + 1
    reset = bool(((resets > first) & (resets <= last)).any())
    begin = max((int(r) for r in resets if r <= first), default=0)
    stop = min((int(r) for r in resets if r > last), default=len(t_us))
    t_us, energy_uj = t_us[begin:stop], energy_uj[begin:stop]
    points = np.ones(len(t_us), dtype=bool)
    points[1:-1] = np.diff(energy_uj)[:-1] != 0
    return Curve(t_us[points], (energy_uj[points] - energy_uj[0]) / UJ_PER_J), reset


def power_curve(t_us: Instants, power_mw: Instants) -> Curve:
    """Return the integral of power readings, taken as linear between them."""
    power_w = power_mw / MW_PER_W
    pieces_j = (power_w[1:] + power_w[:-1]) / 2 * np.diff(t_us) / US_PER_S
    energy_j = np.concatenate(([0.0], np.cumsum(pieces_j)))[: len(t_us)]
    return Curve(t_us, energy_j, power_w)
