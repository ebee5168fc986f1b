"""Intervals, comparisons and rank ranges of J per output token. Pure numpy and scipy.

Everything is done on logarithms: energy per token is positive, and ratios are what is asked about.

One cell: the mean of the logs of its trials. Trials of one engine start on one node share what that start and that node
did to them, so where there are at least 2 such clusters, the standard error comes from the sums of the residuals by
cluster, with one degree of freedom less than clusters:

    s^2 = k / (k - 1) x sum over clusters of (sum of residuals)^2 / n^2

which for clusters of equal size is the t interval over cluster means. With one cluster it is the t interval over
trials, and says nothing about other starts or nodes. Two cells: Welch's test on these means. Many cells: Holm's
step-down procedure over all pairs of a group, which keeps the probability of any false separation at 5 %.
A sensor's gain error is not in it: it is common to all figures of one device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
FAMILY_ERROR = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """Mean of logs, its standard error and degrees of freedom; None and 0 where there is one trial only."""

    log: float
    error: float | None
    freedom: int
    trials: int
    clusters: int

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


def mean_of_logs(values: Sequence[float], clusters: Sequence[object]) -> Mean:
    """Return the mean of the logs of ``values``, which must be positive; ``clusters`` names each one's cluster."""
    logs = np.log(np.asarray(values, dtype=np.float64))
    n = len(logs)
    center = float(logs.mean())
    names = {c: i for i, c in enumerate(dict.fromkeys(clusters))}
    k = len(names)
    if n < 2:
        return Mean(center, None, 0, n, k)
    residuals = logs - center
    if k < 2:
        return Mean(center, float(np.sqrt((residuals**2).sum() / (n - 1) / n)), n - 1, n, k)
    sums = np.bincount([names[c] for c in clusters], weights=residuals)
    return Mean(center, float(np.sqrt(k / (k - 1) * (sums**2).sum()) / n), k - 1, n, k)


def compare_means(a: Mean, b: Mean) -> Difference:
    """Return how a compares with b."""
    difference = a.log - b.log
    ratio = float(np.exp(difference))
    if a.error is None or b.error is None:
        return Difference(ratio, None, None)
    spread, freedom = _welch(np.array([a.error]), np.array([a.freedom]), np.array([b.error]), np.array([b.freedom]))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom[0])) * float(spread[0])
    p = float(_p_values(np.array([difference]), spread, freedom)[0])
    return Difference(ratio, (float(np.exp(difference - half)), float(np.exp(difference + half))), p)


def rank_ranges(means: Sequence[Mean]) -> list[tuple[int, int]]:
    """Return best and worst rank of each mean within the group, lower being better.

    Best is 1 + the number of rows significantly lower, worst the number of rows less those significantly higher. A row
    with one trial only is separated from none.
    """
    rows = len(means)
    logs = np.array([m.log for m in means])
    errors = np.array([np.nan if m.error is None else m.error for m in means])
    freedoms = np.array([max(1, m.freedom) for m in means])
    i, j = np.triu_indices(rows, 1)
    usable = ~(np.isnan(errors[i]) | np.isnan(errors[j]))
    p = np.ones(len(i))
    spread, freedom = _welch(errors[i][usable], freedoms[i][usable], errors[j][usable], freedoms[j][usable])
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


def _welch(a: Floats, a_freedom: NDArray[np.int64], b: Floats, b_freedom: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the standard error of a difference, and its degrees of freedom after Welch and Satterthwaite."""
    spread = np.hypot(a, b)
    weights = a**4 / a_freedom + b**4 / b_freedom
    freedom = np.divide(spread**4, weights, out=np.minimum(a_freedom, b_freedom).astype(float), where=weights > 0)
    return spread, freedom


def _p_values(differences: Floats, spread: Floats, freedom: Floats) -> Floats:
    exact = np.where(differences == 0, 0.0, np.inf)
    t = np.divide(np.abs(differences), spread, out=exact, where=spread > 0)
    return np.asarray(2 * stats.t.sf(t, freedom))
