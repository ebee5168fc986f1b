"""What readings of a meter say anew: the changes of a counter, and the updates of a power field.

A meter is polled faster than it moves. Repeated polls of one value carry no news, and the poll that shows a change
comes up to one poll after it. All functions take readings in order of time (``in_order``) and look at nothing but the
readings around an instant, so that energies of adjacent intervals add up.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Instants = NDArray[np.int64]
Floats = NDArray[np.float64]

EVERY_READING = 0.75
"""A meter that changes in more than this share of the readings is polled no faster than it moves."""
NEIGHBOURS = 16
"""Changes on each side that tell when a regular counter moved; about 3 s of a GPU's."""
FEWEST_NEIGHBOURS = 4
FEWEST_CHANGES = 8
LONGEST_PERIOD_US = 1_500_000
"""Values that change less often than this are steady, and say nothing about how often a field is updated."""


def in_order(t_us: Instants, values: Instants) -> tuple[Instants, Instants]:
    """Return the readings sorted by time, one per instant: of several, the smallest value."""
    if len(t_us) < 2 or bool((np.diff(t_us) > 0).all()):
        return t_us, values
    order = np.lexsort((values, t_us))
    t_us, values = t_us[order], values[order]
    first = np.concatenate(([True], np.diff(t_us) > 0))
    return t_us[first], values[first]


def counter_changes(t_us: Instants, energy_uj: Instants) -> tuple[Instants, Floats, Floats]:
    """Return instants [us] at which a rising counter held which energy [uJ], and the instants' standard errors [us].

    A counter that moves slower than it is polled moved between two polls: halfway is taken, and where its changes are
    evenly spaced, their mean over the neighbours. A counter that has moved at every poll is taken as current, and may
    have moved any time since the poll before.
    """
    changed = np.flatnonzero(np.diff(energy_uj)) + 1
    if len(changed) > EVERY_READING * (len(t_us) - 1) or len(changed) < 2:
        kept = np.unique(np.concatenate(([0], changed, [len(t_us) - 1])))
        poll_us = float(np.median(np.diff(t_us))) if len(t_us) > 1 else 0.0
        return t_us[kept], energy_uj[kept].astype(np.float64), np.full(len(kept), poll_us / math.sqrt(12))
    step_us = float(np.median(np.diff(t_us[changed])))
    polls_us = np.minimum(t_us[changed] - t_us[changed - 1], step_us)
    instants, errors_us = _evened(t_us[changed] - polls_us / 2, polls_us)
    return _with_ends(t_us, energy_uj, instants, energy_uj[changed].astype(np.float64), errors_us)


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
    apart_us = np.diff(t_us[new])
    # Without the times in which the field was updated with the value that it had.
    period_us = float(apart_us[apart_us <= 1.6 * np.quantile(apart_us, 0.25)].mean())
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


def _evened(instants: Floats, polls_us: Floats) -> tuple[Floats, Floats]:
    """Return instants on the straight line through their neighbours where these are evenly spaced, and standard errors.

    How late polls show a change is spread over a poll's length. What of that spread is seen among neighbours averages
    out. What is not, where polls and steps march in step, remains unknown: it drifts too slowly to be seen.
    """
    plain_us = polls_us / math.sqrt(12)
    reach = min(NEIGHBOURS, (len(instants) - 1) // 2)
    if reach < FEWEST_NEIGHBOURS:
        return instants, plain_us
    width = 2 * reach + 1
    groups = np.lib.stride_tricks.sliding_window_view(instants, width)
    spacing = np.diff(groups, axis=1)
    # Each of two changes is known to half a poll: evenly spaced ones look up to a poll too near or too far.
    slack = np.lib.stride_tricks.sliding_window_view(polls_us, width).max(axis=1)
    even = np.abs(spacing - np.median(spacing, axis=1, keepdims=True)).max(axis=1) <= 1.5 * slack
    if not even.any():
        return instants, plain_us
    # The line through a group, at the group's middle; at the two ends of the trace, all along the half group.
    place = np.clip(np.arange(len(instants)) - reach, 0, len(groups) - 1)
    along = np.arange(len(instants)) - place - reach
    steps = np.arange(-reach, reach + 1)
    slopes = ((groups - groups[:, :1]) * steps).sum(axis=1) / (steps**2).sum()
    line = groups[:, 0] + (groups - groups[:, :1]).mean(axis=1)
    fits = even[place]
    evened = np.where(fits, line[place] + slopes[place] * along, instants)
    seen = float(((evened - instants)[fits] ** 2).mean()) * width / (width - 2)
    # As far as it is more than the number of changes lets a spread vary by chance.
    unseen = np.maximum(0.0, plain_us**2 - seen * (1 + 2 * math.sqrt(0.8 / fits.sum())))
    averaged = seen * (1 / width + along**2 / (steps**2).sum())
    return np.maximum.accumulate(evened), np.where(fits, np.sqrt(unseen + averaged), plain_us)


def _with_ends(
    t_us: Instants, energy_uj: Instants, instants: Floats, energies_uj: Floats, errors_us: Floats
) -> tuple[Instants, Floats, Floats]:
    """Return the changes with the first and the last reading, carried on at the power of the nearest whole step."""
    step_us = float(np.median(np.diff(instants)))
    powers = np.diff(energies_uj) / np.diff(instants)
    before = max(0.0, energies_uj[0] - powers[0] * min(instants[0] - t_us[0], step_us))
    after = energies_uj[-1] + powers[-1] * min(t_us[-1] - instants[-1], step_us)
    first = [(float(t_us[0]), max(before, float(energy_uj[0])))] if instants[0] > t_us[0] else []
    last = [(float(t_us[-1]), after)] if instants[-1] < t_us[-1] else []
    at_us, at_uj = (
        np.array([*(f[i] for f in first), *v, *(e[i] for e in last)]) for i, v in enumerate((instants, energies_uj))
    )
    doubts_us = np.concatenate(([errors_us[0]] * len(first), errors_us, [errors_us[-1]] * len(last)))
    whole = np.rint(at_us).astype(np.int64)
    kept = np.concatenate((np.diff(whole) > 0, [True]))
    return whole[kept], at_uj[kept], doubts_us[kept]
