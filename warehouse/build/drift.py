"""Whether trials drifted over a sweep: energy per token against the order in time, cells and nodes taken as given.

Least squares of log J per token, less the mean of its cell and nodes, on the trial's start, likewise less the mean.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

Row = dict[str, Any]
CONFIDENCE = 0.95
LARGEST_LOG = math.log(np.finfo(np.float64).max)


def drift(trials: Sequence[Row]) -> Row | None:
    """Return slope and test for the trials of one sweep, with ``cell``, ``nodes``, ``j`` and ``started_s``.

    None where too few trials share a cell and nodes for any slope.
    """
    groups: dict[Any, list[Row]] = defaultdict(list)
    for trial in trials:
        groups[trial["cell"], tuple(trial["nodes"])].append(trial)
    repeated = [g for g in groups.values() if len(g) > 1]
    freedom = sum(len(g) - 1 for g in repeated) - 1
    if freedom < 1:
        return None
    hours = np.concatenate([_centred([t["started_s"] / 3600 for t in g]) for g in repeated])
    logs = np.concatenate([_centred([math.log(t["j"]) for t in g]) for g in repeated])
    spread = float((hours**2).sum())
    if spread == 0:
        return None
    slope = float((hours * logs).sum()) / spread
    left = float(((logs - slope * hours) ** 2).sum())
    error = math.sqrt(left / freedom / spread)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(slope) / error, freedom)) if error > 0 else float(slope == 0)
    started = [t["started_s"] for t in trials]
    return {
        "trials": sum(map(len, repeated)),
        "hours": (max(started) - min(started)) / 3600,
        "change_per_hour": _change(slope),
        "change_per_hour_low": _change(slope - half),
        "change_per_hour_high": _change(slope + half),
        "p": p,
    }


def _change(log_per_hour: float) -> float | None:
    """Return the relative change; None where it is beyond any number, as after seconds drawn out to an hour."""
    return math.expm1(log_per_hour) if log_per_hour < LARGEST_LOG else None


def _centred(values: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64)
    return np.asarray(array - array.mean(), dtype=np.float64)
