"""Known answers for the shares of requests: in closed form, and always the whole window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from joulemark.warehouse.build.energy import counter_energy
from joulemark.warehouse.build.readings import Series
from joulemark.warehouse.build.request_energy import Activity, cumulative_j, equal_shares
from joulemark.warehouse.schema.trial import Interval
from joulemark.warehouse.units import US_PER_S
from joulemark.warehouse.verify.case import Case, near
from joulemark.warehouse.verify.known import END_US, START_US, all_known, readings, steady
from joulemark.warehouse.verify.signal import Signal

FAMILY = "shares"
SPANS_S = ((-5, 10), (5, 20), (5, 20), (40, 200), (30, 30))
"""Sent and done, in seconds since the window's begin: over an edge, two at once, over the other edge, at no time."""


def share_cases() -> Iterator[Case]:
    """Yield the sum for every signal, and each request's share at steady power."""
    for known in all_known():
        shares_j, rest_j, whole_j = _shares(known.signal)
        yield near(FAMILY, f"{known.name}, shares and rest", whole_j, sum(shares_j) + rest_j, 1e-9 * whole_j)
    shares_j, rest_j, whole_j = _shares(steady().signal)
    length_s = (END_US - START_US) / US_PER_S
    # Alone from 0 to 5, one of three from 5 to 10; then one of two to 20; alone from 40 on.
    active_s = (5 + 5 / 3, 5 / 3 + 5, 5 / 3 + 5, length_s - 40, 0.0)
    for number, (share_j, seconds) in enumerate(zip(shares_j, active_s, strict=True)):
        yield near(FAMILY, f"request {number} at 300 W", 300 * seconds, share_j, 5.0)
    yield near(FAMILY, "no request active, at 300 W", 300 * 20.0, rest_j, 5.0)


def _shares(signal: Signal) -> tuple[list[float], float, float]:
    found = readings(signal)
    yes = np.ones(len(found.t_us), dtype=np.bool_)
    series = Series("nvml", "GPU", "gpu_board", "counter", found.t_us, found.power_mw, yes, found.energy_uj, yes)
    window = Interval(START_US, END_US)
    sent_us, done_us = (START_US + np.array(at, dtype=np.int64) * US_PER_S for at in zip(*SPANS_S, strict=True))
    activity = Activity.of(window, sent_us, done_us)
    curve = series.curve("counter", START_US, END_US)
    shares_j, rest_j = equal_shares(cumulative_j([(curve, window)], activity.edges_us, window), activity)
    whole = counter_energy(found.t_us, found.energy_uj, START_US, END_US).energy_j
    return shares_j.tolist(), rest_j, whole or 0.0
