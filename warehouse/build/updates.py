"""When a power field was updated. It is polled faster than that, and repeated polls of one value carry no news."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from joulemark.warehouse.build.changes import EVERY_READING, usual_us

Instants = NDArray[np.int64]

FEWEST_CHANGES = 8
LONGEST_PERIOD_US = 1_500_000
"""Values that change less often than this are steady, and say nothing about how often a field is updated."""


def power_updates(t_us: Instants, power_mw: Instants) -> tuple[Instants, Instants, int]:
    """Return when a power field was updated, the values, and its usual update period in us (0: one reading alone).

    The first and the last reading are always there. A field that holds a value for longer than its update period was
    updated with the same value meanwhile.
    """
    if len(t_us) < 2:
        return t_us, power_mw, 0
    new = np.concatenate(([False], np.diff(power_mw) != 0))
    polls_us = np.diff(t_us)
    everywhere = t_us, power_mw, int(np.median(polls_us))
    if not FEWEST_CHANGES <= new.sum() <= EVERY_READING * len(polls_us):
        return everywhere
    period_us = usual_us(np.diff(t_us[new]))
    if period_us > LONGEST_PERIOD_US:
        return everywhere
    updated = new | _silent_updates(t_us, new, period_us)
    at = np.flatnonzero(updated)
    # Halfway between the poll that shows it and the one before.
    late_us = np.minimum(polls_us[at - 1], period_us) / 2
    instants = np.maximum(t_us[at] - late_us.astype(np.int64), t_us[0] + 1)
    instants = np.concatenate((t_us[:1], instants, t_us[-1:]))
    values = np.concatenate((power_mw[:1], power_mw[at], power_mw[-1:]))
    kept = np.concatenate(([True], np.diff(instants) > 0))
    return instants[kept], values[kept], round(period_us)


def _silent_updates(t_us: Instants, new: NDArray[np.bool_], period_us: float) -> NDArray[np.bool_]:
    """Return the readings at which whole periods have passed since the value was new, up to its next change."""
    run = np.cumsum(new)
    begins = np.concatenate((t_us[:1], t_us[new]))
    age = np.floor((t_us - begins[run]) / period_us)
    counted = np.concatenate(([False], (np.diff(age) > 0) & ~new[1:]))
    ends = np.concatenate((t_us[new], t_us[-1:] + int(period_us)))
    return np.asarray(counted & (ends[run] - t_us >= period_us / 2), dtype=np.bool_)
