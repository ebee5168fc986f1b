"""Whether the nodes that a cell ran on differ by more than chance: one-way analysis of variance on log J per token.

The unit is an engine start (its trials' mean) where a node has at least two of them, since trials of one start share
what it did to them. Where no node has, the unit is a trial, and what a start does counts as the node's. A difference
that the sensors' gain alone could make says nothing about the nodes, however sure it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

Row = dict[str, Any]


def node_difference(trials: Sequence[Row]) -> Row | None:
    """Return how the nodes of one cell differ, from its trials with ``nodes``, ``start``, ``j`` and ``sensor``.

    None where there is one set of nodes only; p is None where no set has two units.
    """
    starts: dict[tuple[str, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        starts[tuple(trial["nodes"])][trial["start"]].append(float(np.log(trial["j"])))
    if len(starts) < 2:
        return None
    by_start = any(len(s) > 1 for s in starts.values())
    units = [
        [float(np.mean(logs)) for logs in node.values()] if by_start else [x for logs in node.values() for x in logs]
        for node in starts.values()
    ]
    means = [float(np.mean(u)) for u in units]
    ratio = float(np.exp(max(means) - min(means)))
    sensors = [t["sensor"] for t in trials]
    sensor = None if None in sensors else max(sensors)
    return {
        "node_sets": len(starts),
        "highest_to_lowest": ratio,
        "unit": "start" if by_start else "trial",
        "p": _p(units),
        "beyond_sensors": None if sensor is None or sensor >= 1 else ratio > (1 + sensor) / (1 - sensor),
    }


def _p(units: list[list[float]]) -> float | None:
    """Return the probability of differences like these by chance alone."""
    freedom = sum(len(u) - 1 for u in units)
    if not freedom:
        return None
    everything = np.concatenate([np.asarray(u) for u in units])
    within = sum(float(((np.asarray(u) - np.mean(u)) ** 2).sum()) for u in units)
    between = sum(len(u) * float((np.mean(u) - everything.mean()) ** 2) for u in units)
    if within == 0:
        return 0.0 if between > 0 else 1.0
    ratio = (between / (len(units) - 1)) / (within / freedom)
    return float(stats.f.sf(ratio, len(units) - 1, freedom))
