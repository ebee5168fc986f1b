"""Known answers for the two ways to an energy: the counter's difference and the integral of power."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from joulemark.warehouse.build.energy import Estimate, counter_energy, power_integral
from joulemark.warehouse.build.gain import GPU_SENSOR, with_gain_j
from joulemark.warehouse.units import US_PER_S
from joulemark.warehouse.verify.case import Case, near
from joulemark.warehouse.verify.known import END_US, START_US, Known, all_known, readings, steady

SECONDS = (END_US - START_US) / US_PER_S


def counter_cases() -> Iterator[Case]:
    """Yield every signal read by a counter: within what is stated, and that within 0.2 %."""
    for known in all_known():
        found = readings(known.signal)
        yield from _covered("counter", known, counter_energy(found.t_us, found.energy_uj, START_US, END_US), 0.002)


def integral_cases() -> Iterator[Case]:
    """Yield every signal read as power: within what is stated, and that within 10 %; and linear power exactly."""
    for known in all_known():
        found = readings(known.signal)
        yield from _covered("integral", known, power_integral(found.t_us, found.power_mw, START_US, END_US), 0.1)
    t_us = START_US - 3_700_000 + np.arange(70, dtype=np.int64) * US_PER_S
    exact = power_integral(t_us, np.arange(70) * 1_000, START_US, END_US)
    first, last = ((edge - int(t_us[0])) / US_PER_S for edge in (START_US, END_US))
    yield near("integral", "linear power, edges between readings", (last**2 - first**2) / 2, exact.energy_j, 1e-6)


def gain_cases() -> Iterator[Case]:
    """Yield a sensor that shows 4 % too much: the stated gain and offset of its kind must cover that."""
    known = steady()
    found = readings(known.signal, gain=0.04)
    estimate = counter_energy(found.t_us, found.energy_uj, START_US, END_US)
    assert estimate.energy_j is not None
    assert estimate.uncertainty_j is not None
    stated_j = with_gain_j(estimate.energy_j, SECONDS, estimate.uncertainty_j, GPU_SENSOR)
    yield near("gain", "a sensor that shows 4 % too much", known.energy_j, estimate.energy_j, stated_j)


def additive_cases() -> Iterator[Case]:
    """Yield windows cut in three: the parts must sum to the whole."""
    cuts = (START_US, START_US + 13_579_111, END_US - 20_000_003, END_US)
    for known in all_known():
        found = readings(known.signal)
        for name, way, values in (
            ("counter", counter_energy, found.energy_uj),
            ("integral", power_integral, found.power_mw),
        ):
            parts = [way(found.t_us, values, a, b).energy_j or 0.0 for a, b in pairwise(cuts)]
            whole = way(found.t_us, values, START_US, END_US).energy_j or 0.0
            yield near("additive", f"{name} of {known.name}, three parts", whole, sum(parts), 1e-9 * whole)


def _covered(family: str, known: Known, estimate: Estimate, widest: float) -> Iterator[Case]:
    stated_j, rounding_j = estimate.uncertainty_j, 1e-6 * known.energy_j
    yield near(
        family,
        f"{known.name}, within what is stated",
        known.energy_j,
        estimate.energy_j,
        max(stated_j or 0.0, rounding_j),
    )
    stated = (stated_j or np.inf) / known.energy_j
    yield Case(family, f"{known.name}, stated", f"at most {widest:.1%}", f"{stated:.3%}", stated <= widest)
