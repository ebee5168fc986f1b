"""When a counter moved. It is polled faster than it moves, and the poll that shows a change comes up to a poll later.

Nothing here depends on the interval that is asked for, so that energies of adjacent intervals add up.
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
FARTHEST = 0.75
"""How far, in polls, an evenly spaced change may seem to lie from its line: half a poll, and the line's own error."""


def in_order(t_us: Instants, values: Instants) -> tuple[Instants, Instants]:
    """Return the readings sorted by time, one per instant: of several, the smallest value."""
    if len(t_us) < 2 or bool((t_us[1:] > t_us[:-1]).all()):
        return t_us, values
    order = np.lexsort((values, t_us))
    t_us, values = t_us[order], values[order]
    first = np.concatenate(([True], np.diff(t_us) > 0))
    return t_us[first], values[first]


def counter_changes(t_us: Instants, energy_uj: Instants) -> tuple[Instants, Floats, Floats | None]:
    """Return instants [us] at which a rising counter held which energy [uJ], and the instants' standard errors [us].

    A counter that moves slower than it is polled moved between two polls: halfway is taken, and where its changes are
    evenly spaced, their mean over the neighbours. A counter that has moved at every poll is taken as current, and may
    have moved any time since the poll before: no errors are given.
    """
    moved = energy_uj[1:] != energy_uj[:-1]
    count = int(np.count_nonzero(moved))
    if count == len(moved):
        return t_us, energy_uj.astype(np.float64), None
    changed = np.flatnonzero(moved) + 1
    if count > EVERY_READING * len(moved):
        return (*_shown(t_us, energy_uj, changed), None)
    if count < 2:
        return _as_read(t_us, energy_uj, changed)
    step_us = usual_us(np.diff(t_us[changed]))
    polls_us = (t_us[changed] - t_us[changed - 1]).astype(np.float64)
    # A poll that comes a whole step late tells of several changes, and when none of them was.
    clear = polls_us < step_us
    if clear.sum() < 2:
        return _as_read(t_us, energy_uj, changed)
    apart = np.diff(np.flatnonzero(clear))
    changed, polls_us = changed[clear], polls_us[clear]
    instants = t_us[changed] - polls_us / 2
    hidden = np.rint(np.diff(instants) / step_us)
    numbers = np.concatenate(([0.0], np.cumsum(np.where(apart > 1, np.maximum(1, hidden), 1))))
    instants, errors_us = _evened(instants, numbers, polls_us)
    return _with_ends(t_us, energy_uj, instants, energy_uj[changed].astype(np.float64), errors_us)


def _as_read(t_us: Instants, energy_uj: Instants, changed: Instants) -> tuple[Instants, Floats, Floats]:
    """Return the readings that show a change, the first and the last, as they are: known to a poll."""
    at_us, held_uj = _shown(t_us, energy_uj, changed)
    poll_us = float(np.median(np.diff(t_us))) if len(t_us) > 1 else 0.0
    return at_us, held_uj, np.full(len(at_us), poll_us / math.sqrt(12))


def _shown(t_us: Instants, energy_uj: Instants, changed: Instants) -> tuple[Instants, Floats]:
    kept = np.zeros(len(t_us), dtype=np.bool_)
    kept[changed] = True
    kept[[0, -1]] = True
    return t_us[kept], energy_uj[kept].astype(np.float64)


def usual_us(apart_us: NDArray[np.int64] | Floats) -> float:
    """Return the usual distance of changes, without those between which one was not seen."""
    return float(apart_us[apart_us <= 1.6 * np.quantile(apart_us, 0.25)].mean())


def _evened(instants: Floats, numbers: Floats, polls_us: Floats) -> tuple[Floats, Floats]:
    """Return instants on the straight line through their neighbours where these are evenly spaced, and standard errors.

    ``numbers`` count the steps that the changes belong to. How late polls show a change is spread over a poll's length.
    What of that spread is seen among neighbours averages out. What is not, where polls and steps march in step, remains
    unknown: it drifts too slowly to be seen.
    """
    reach = min(NEIGHBOURS, (len(instants) - 1) // 2)
    if reach < FEWEST_NEIGHBOURS:
        return instants, polls_us / math.sqrt(12)
    width = 2 * reach + 1
    groups = np.lib.stride_tricks.sliding_window_view
    steps = groups(numbers, width)
    polls = groups(polls_us, width)
    times = groups(instants, width)
    weights = polls**-2.0
    total = weights.sum(axis=1)
    middle, mean = (((weights * (v - v[:, :1])).sum(axis=1) / total) + v[:, 0] for v in (steps, times))
    away, since = steps - middle[:, None], times - mean[:, None]
    spread = (weights * away**2).sum(axis=1)
    slope = (weights * away * since).sum(axis=1) / spread
    missed = (since - slope[:, None] * away) / polls
    even = np.abs(missed).max(axis=1) <= FARTHEST
    # Each change lies on the line of the group around it; at the ends of the trace, of the first or last group.
    place = np.clip(np.arange(len(instants)) - reach, 0, len(times) - 1)
    from_middle = steps[place, np.arange(len(instants)) - place] - middle[place]
    fits = even[place]
    if not fits.any():
        return instants, polls_us / math.sqrt(12)
    evened = np.where(fits, mean[place] + slope[place] * from_middle, instants)
    # In units of a poll's square: 1/12 in all.
    seen = float((missed[even] ** 2).mean()) * width / (width - 2)
    # As far as it is more than the number of changes lets a spread vary by chance.
    unseen = max(0.0, 1 / 12 - seen * (1 + 2 * math.sqrt(0.8 / fits.sum())))
    averaged = seen * (1 / total[place] + from_middle**2 / spread[place])
    errors_us = np.sqrt(unseen * np.median(polls, axis=1)[place] ** 2 + averaged)
    return np.maximum.accumulate(evened), np.where(fits, errors_us, polls_us / math.sqrt(12))


def _with_ends(
    t_us: Instants, energy_uj: Instants, instants: Floats, energies_uj: Floats, errors_us: Floats
) -> tuple[Instants, Floats, Floats]:
    """Return the changes with the first and the last reading, carried on at the power of the nearest whole step."""
    step_us = float(np.median(np.diff(instants)))
    powers = np.diff(energies_uj) / np.diff(instants)
    before = max(0.0, energies_uj[0] - powers[0] * min(instants[0] - t_us[0], step_us))
    after = max(energies_uj[-1] + powers[-1] * min(t_us[-1] - instants[-1], step_us), float(energy_uj[-1]))
    first = [(float(t_us[0]), max(before, float(energy_uj[0])))] if instants[0] > t_us[0] else []
    last = [(float(t_us[-1]), after)] if instants[-1] < t_us[-1] else []
    at_us, at_uj = (
        np.array([*(f[i] for f in first), *v, *(e[i] for e in last)]) for i, v in enumerate((instants, energies_uj))
    )
    doubts_us = np.concatenate(([errors_us[0]] * len(first), errors_us, [errors_us[-1]] * len(last)))
    whole = np.rint(at_us).astype(np.int64)
    kept = np.concatenate((np.diff(whole) > 0, [True]))
    return whole[kept], at_uj[kept], doubts_us[kept]
