"""Intervals, comparisons and rank ranges of J per output token. Pure numpy and scipy.

Everything is done on logarithms: energy per token is positive, and ratios are what is asked about.

One cell: trials of one engine start share what that start did to them, and starts on one node what the node did. So the
mean is one of means: over the trials of a start, the starts of a set of nodes, the sets of nodes. Its standard error
comes from the highest of these levels that there are at least two of: the t interval over the means of that level,
exact for equal numbers. Below that level nothing is said: one start says nothing about others, one node neither.

Two cells: Welch's test on these means. Where both ran on the same sets of nodes, what the nodes (and the gain of their
sensors) did to them is common to both and cancels: then the errors are those within the nodes, with Satterthwaite's
degrees of freedom. Many cells: Holm's
step-down procedure over all pairs of a group, which keeps the probability of any false separation at 5 %.
A sensor's gain error is not in it: it is common to all figures of one device.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
FAMILY_ERROR = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """Mean of logs, its standard error and degrees of freedom; None and 0 where there is one trial only.

    ``clusters`` counts engine starts. ``nodes`` are the sets of nodes; ``within`` is (error, freedom) with the nodes
    taken as given, None where some set of nodes has one trial only.
    """

    log: float
    error: float | None
    freedom: float
    trials: int
    clusters: int
    nodes: frozenset[Any] = frozenset()
    within: tuple[float, float] | None = None

    @property
    def value(self) -> float:
        """The geometric mean."""
        return float(np.exp(self.log))

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the geometric mean; None under 2 trials."""
        if self.error is None:
            return None
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, self.freedom)) * self.error
        return float(np.exp(self.log - half)), float(np.exp(self.log + half))


@dataclass(frozen=True)
class Difference:
    """Welch's test of two means: ratio a / b with its 95 % interval, and p; None where a side has one trial only."""

    ratio: float
    interval: tuple[float, float] | None
    p: float | None


def mean_of_logs(values: Sequence[float], starts: Sequence[Hashable], nodes: Sequence[Hashable] | None = None) -> Mean:
    """Return the mean of the logs of ``values``, which must be positive.

    ``starts`` and ``nodes`` name each one's engine start and set of nodes (None: all on the same); starts of different
    sets of nodes are different ones.
    """
    logs = np.log(np.asarray(values, dtype=np.float64)).tolist()
    tree: dict[Hashable, dict[Hashable, list[float]]] = {}
    for log, start, node in zip(logs, starts, nodes or [None] * len(logs), strict=True):
        tree.setdefault(node, {}).setdefault(start, []).append(log)
    of_nodes = [_level(_start_means(started)) for started in tree.values()]
    center = float(np.mean([log for log, _, _ in of_nodes]))
    counts = len(logs), sum(len(started) for started in tree.values())
    within = _within([(error, freedom) for _, error, freedom in of_nodes])
    if len(of_nodes) > 1:
        _, error, freedom = _level([log for log, _, _ in of_nodes])
    else:
        _, error, freedom = of_nodes[0]
    return Mean(center, error, freedom, *counts, frozenset(tree), within)


def _start_means(started: dict[Hashable, list[float]]) -> list[float]:
    """Return the means of a node's starts, or where there is one start, its trials."""
    if len(started) > 1:
        return [float(np.mean(trials)) for trials in started.values()]
    return next(iter(started.values()))


def _level(means: list[float]) -> tuple[float, float | None, float]:
    """Return mean, standard error and degrees of freedom over the means of one level."""
    n = len(means)
    if n < 2:
        return means[0], None, 0
    return float(np.mean(means)), float(np.std(means, ddof=1)) / math.sqrt(n), n - 1


def _within(nodes: list[tuple[float | None, float]]) -> tuple[float, float] | None:
    """Return the error of a mean over nodes, each with (error, freedom), the nodes taken as given."""
    errors = [error for error, _ in nodes if error is not None]
    if len(errors) < len(nodes):
        return None
    variances = np.array(errors) ** 2 / len(nodes) ** 2
    freedoms = np.array([freedom for _, freedom in nodes])
    total = float(variances.sum())
    freedom = total**2 / float((variances**2 / freedoms).sum()) if total > 0 else float(freedoms.min())
    return math.sqrt(total), freedom


def compare_means(a: Mean, b: Mean) -> Difference:
    """Return how a compares with b."""
    difference = a.log - b.log
    ratio = float(np.exp(difference))
    (error_a, freedom_a), (error_b, freedom_b) = _for_pair(a, b)
    if error_a is None or error_b is None:
        return Difference(ratio, None, None)
    spread, freedom = _welch(*(np.array([v]) for v in (error_a, freedom_a, error_b, freedom_b)))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom[0])) * float(spread[0])
    p = float(_p_values(np.array([difference]), spread, freedom)[0])
    return Difference(ratio, (float(np.exp(difference - half)), float(np.exp(difference + half))), p)


def _for_pair(a: Mean, b: Mean) -> tuple[tuple[float | None, float], tuple[float | None, float]]:
    """Return both sides' error and degrees of freedom: within the nodes where these are the same several."""
    if len(a.nodes) > 1 and a.nodes == b.nodes and a.within is not None and b.within is not None:
        return a.within, b.within
    return (a.error, a.freedom), (b.error, b.freedom)


def rank_ranges(means: Sequence[Mean]) -> list[tuple[int, int]]:
    """Return best and worst rank of each mean within the group, lower being better.

    Best is 1 + the number of rows significantly lower, worst the number of rows less those significantly higher. A row
    with one trial only is separated from none.
    """
    rows = len(means)
    logs = np.array([m.log for m in means])
    i, j = np.triu_indices(rows, 1)
    sides = _sides(means, i, j)
    usable = ~(np.isnan(sides[0]) | np.isnan(sides[2]))
    p = np.ones(len(i))
    spread, freedom = _welch(*(side[usable] for side in sides))
    p[usable] = _p_values((logs[i] - logs[j])[usable], spread, freedom)
    separated = holm(p)
    lower, higher = np.where(logs[i] < logs[j], i, j)[separated], np.where(logs[i] < logs[j], j, i)[separated]
    better = np.bincount(higher, minlength=rows)
    worse = np.bincount(lower, minlength=rows)
    return [(1 + int(b), rows - int(w)) for b, w in zip(better, worse, strict=True)]


def holm(p: Floats, error: float = FAMILY_ERROR) -> NDArray[np.bool_]:
    """Return which hypotheses are rejected (Holm 1979): the smallest p against error/m, the next error/(m-1), ..."""
    m = len(p)
    order = np.argsort(p, kind="stable")
    passes = p[order] <= error / np.arange(m, 0, -1)
    rejected = np.zeros(m, dtype=bool)
    rejected[order[: m if passes.all() else int(np.argmin(passes))]] = True
    return rejected


def _sides(means: Sequence[Mean], i: NDArray[np.int64], j: NDArray[np.int64]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return error and degrees of freedom of the first and of the second of each pair, as ``_for_pair`` does."""
    error = np.array([np.nan if m.error is None else m.error for m in means])
    freedom = np.array([max(1.0, m.freedom) for m in means])
    inside = np.array([(np.nan, 1.0) if m.within is None else m.within for m in means])
    numbers = {nodes: n for n, nodes in enumerate(dict.fromkeys(m.nodes for m in means))}
    ran = np.array([numbers[m.nodes] if len(m.nodes) > 1 else -1 for m in means])
    same = (ran[i] == ran[j]) & (ran[i] >= 0) & ~np.isnan(inside[i, 0]) & ~np.isnan(inside[j, 0])
    return (
        np.where(same, inside[i, 0], error[i]),
        np.where(same, inside[i, 1], freedom[i]),
        np.where(same, inside[j, 0], error[j]),
        np.where(same, inside[j, 1], freedom[j]),
    )


def _welch(a: Floats, a_freedom: Floats, b: Floats, b_freedom: Floats) -> tuple[Floats, Floats]:
    """Return the standard error of a difference, and its degrees of freedom after Welch and Satterthwaite."""
    spread = np.hypot(a, b)
    weights = a**4 / a_freedom + b**4 / b_freedom
    freedom = np.divide(spread**4, weights, out=np.minimum(a_freedom, b_freedom).astype(float), where=weights > 0)
    return spread, freedom


def _p_values(differences: Floats, spread: Floats, freedom: Floats) -> Floats:
    exact = np.where(differences == 0, 0.0, np.inf)
    t = np.divide(np.abs(differences), spread, out=exact, where=spread > 0)
    return np.asarray(2 * stats.t.sf(t, freedom))
