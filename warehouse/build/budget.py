"""What an energy figure may be off by, in parts: edges, unseen transients, clocks. The sensor's gain is apart.

All parts are half widths at 95 %. They come from the readings themselves: how much they vary from one to the next says
how much power may have varied between them.

Two kinds of variation are told apart by the mean squares v1 and v2 of first and second differences: white noise with
variance w per reading, and wandering (a random walk, or steps at random instants) with variance r per reading.

    points of power      v1 = 2 w + r         v2 = 6 w + 2 r
    means over a step    v1 = 2 w + 2 r / 3   v2 = 6 w + r
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from joulemark.warehouse.build.curve import Curve
from joulemark.warehouse.units import US_PER_S

Floats = NDArray[np.float64]

TWO_SIDED = 1.96
UNSEEN = 0.5
"""Variance that a step's energy gets from not being seen, per variance of noise, where a sensor looks at 25 ms of every
100 ms: 0.75 for noise that is much faster than that, 0.34 for noise that lasts 25 ms; engines' steps lie between.
"""
CONTEXT = 40
"""Fewest readings that the variation is estimated from; for short intervals, readings around them help."""


@dataclass(frozen=True)
class Budget:
    """Half widths at 95 % in joules. ``clock_j`` is None where the clocks' offset is not known."""

    edge_j: float
    transient_j: float
    clock_j: float | None

    @property
    def total_j(self) -> float | None:
        """All parts, taken as independent; None where one is not known."""
        return None if self.clock_j is None else math.hypot(self.edge_j, self.transient_j, self.clock_j)


@dataclass(frozen=True)
class Variation:
    """How much power varies from reading to reading, in W^2: variances of noise and of wandering.

    ``differences`` says how many differences it rests on: where a few large ones make the most of it, only these.
    """

    white: float
    wander: float
    differences: float


def budget(curve: Curve, start_us: int, end_us: int, clock_us: float | None) -> Budget:
    """Return the budget of ``curve.between_j(start_us, end_us)``. The curve must bracket both edges.

    ``clock_us`` is how far the window may be shifted against the readings; None: not known.
    """
    around = _around(curve, start_us, end_us)
    step_us = float(np.median(np.diff(curve.t_us[around.start : around.stop + 1])))
    apart = max(1, round(curve.averaging_us / step_us))
    variation = _variation(curve, around, apart)
    spread = float(stats.t.ppf(0.975, max(1.0, variation.differences)))
    transient_j = 0.0
    if apart > 1:
        # A mean over the time W smears the edges: noise misses W^2 / 12 of its variance there, wandering W^2 / 320.
        edge_var = 2 * (variation.white / 12 + variation.wander / 320) * (curve.averaging_us / US_PER_S) ** 2
    else:
        edge_var = 2 * (variation.white / 6 + variation.wander / 90) * (step_us / US_PER_S) ** 2
        if curve.power_w is not None:
            unseen = (end_us - start_us) / step_us * (UNSEEN * variation.white + variation.wander / 12)
            transient_j = spread * math.sqrt(unseen) * step_us / US_PER_S
    widen = spread if apart > 1 else TWO_SIDED
    instants_j = (_instant_error_j(curve, edge) for edge in (start_us, end_us))
    edge_j = math.hypot(
        widen * math.hypot(math.sqrt(edge_var), *instants_j), shift_j(curve, start_us, end_us, curve.lag_us)
    )
    clock_j = None if clock_us is None else shift_j(curve, start_us, end_us, clock_us)
    return Budget(edge_j, transient_j, clock_j)


def shift_j(curve: Curve, start_us: int, end_us: int, by_us: float) -> float:
    """Return the largest change of the interval's energy where it is moved by up to ``by_us`` in either direction.

    About ``by_us`` times the difference of power at the edges.
    """
    if by_us <= 0:
        return 0.0
    asked = np.array([[start_us, end_us]]) + np.array([[0.0], [-by_us], [by_us]])
    moved = np.clip(np.rint(asked).astype(np.int64), curve.t_us[0], curve.t_us[-1])
    energies_j = np.diff(curve.at_j(moved.ravel()).reshape(3, 2), axis=1).ravel()
    return float(np.abs(energies_j[1:] - energies_j[0]).max())


def _around(curve: Curve, start_us: int, end_us: int) -> range:
    """Return the steps from the one before the interval to the one after it, and more where these are few."""
    first, last = (int(s) for s in curve.segment(np.array([start_us, end_us])))
    more = max(0, CONTEXT - (last - first + 1) + 1) // 2
    return range(max(0, first - more), min(len(curve.t_us) - 1, last + more + 1))


def _variation(curve: Curve, around: range, apart: int) -> Variation:
    """Return how much readings vary that are so many readings apart."""
    means = curve.power_w is None or apart > 1
    if curve.power_w is None:
        powers_w = curve.mean_powers_w()[around.start : around.stop]
    else:
        powers_w = curve.power_w[around.start : around.stop + 1]
    first = powers_w[apart:] - powers_w[:-apart]
    second = first[apart:] - first[:-apart]
    v1 = float((first**2).mean()) if len(first) else 0.0
    if v1 == 0 or not len(second):
        # Two steps tell no kind from the other: the worse is taken.
        return Variation(v1 / 2, 0.0, float(len(first)))
    part = 2 / 3 if means else 1.0
    wander = min(max(0.0, 3 * v1 - float((second**2).mean())), v1 / part)
    count = float((first**2).sum()) ** 2 / float((first**4).sum())
    return Variation((v1 - part * wander) / 2, wander, count / apart)


def _instant_error_j(curve: Curve, edge_us: int) -> float:
    """Return the standard error in joules from not knowing when the changes around an edge happened."""
    segment = int(curve.segment(np.array([edge_us]))[0])
    power_w = (curve.energy_j[segment + 1] - curve.energy_j[segment]) / (curve.t_us[segment + 1] - curve.t_us[segment])
    return float(power_w * curve.instant_error_us(segment))
