"""Intervals and ranks against simulated cells whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from joulemark.warehouse.build.statistics import Mean, compare_means, holm, mean_of_logs, rank_ranges


def test_interval_is_the_t_interval_of_logs():
    values = [0.1, 0.12, 0.11, 0.13]
    mean = mean_of_logs(values, ["a"] * 4)
    logs = np.log(values)
    low, high = stats.t.interval(0.95, 3, logs.mean(), logs.std(ddof=1) / 2)
    assert mean.value == pytest.approx(np.exp(logs.mean()))
    assert mean.interval == pytest.approx((np.exp(low), np.exp(high)))


def test_equal_clusters_give_the_interval_of_cluster_means():
    values = [0.1, 0.12, 0.2, 0.22, 0.15, 0.18]
    mean = mean_of_logs(values, [1, 1, 2, 2, 3, 3])
    means = np.log(values).reshape(3, 2).mean(axis=1)
    assert mean.error == pytest.approx(means.std(ddof=1) / np.sqrt(3))
    assert (mean.freedom, mean.clusters, mean.trials) == (2, 3, 6)


def test_one_trial_has_no_interval_and_is_told_apart_from_none():
    one = mean_of_logs([0.5], ["a"])
    assert one.interval is None
    many = mean_of_logs([1.0, 1.001, 0.999], ["a"] * 3)
    assert compare_means(one, many).p is None
    assert rank_ranges([one, many]) == [(1, 2), (1, 2)]


@pytest.mark.parametrize(("starts", "repeats", "between"), [(1, 3, 0.0), (1, 5, 0.0), (4, 3, 0.05), (3, 2, 0.05)])
def test_coverage_over_many_cells(starts, repeats, between):
    """The true value lies in 95 % of the intervals, with and without an effect of the engine's start."""
    random = np.random.default_rng(11)
    cells = 2_000
    hits = 0
    for _ in range(cells):
        logs = np.log(0.02) + random.normal(0, between, (starts, 1)) + random.normal(0, 0.03, (starts, repeats))
        mean = mean_of_logs(np.exp(logs).ravel().tolist(), np.repeat(np.arange(starts), repeats).tolist())
        low, high = mean.interval
        hits += low <= 0.02 <= high
    assert 0.93 <= hits / cells <= 0.97


def test_taking_starts_for_repeats_would_be_wrong():
    """The reason for clusters: with an effect of the start, repeats alone promise too much."""
    random = np.random.default_rng(12)
    hits = 0
    for _ in range(500):
        logs = random.normal(0, 0.05, (4, 1)) + random.normal(0, 0.01, (4, 5))
        low, high = mean_of_logs(np.exp(logs).ravel().tolist(), ["same"] * 20).interval
        hits += low <= 1 <= high
    assert hits / 500 < 0.8


@pytest.mark.parametrize(("rows", "repeats", "spreads"), [(6, 3, (0.02,)), (10, 5, (0.02,)), (6, 4, (0.01, 0.05))])
def test_equal_rows_are_rarely_told_apart(rows, repeats, spreads):
    """Family-wise error: some pair of equal rows is separated in about 5 % of the groups, not more."""
    random = np.random.default_rng(13)
    groups = 600
    wrong = 0
    for _ in range(groups):
        means = []
        for row in range(rows):
            values = np.exp(random.normal(0, spreads[row % len(spreads)], repeats))
            means.append(mean_of_logs(values.tolist(), ["a"] * repeats))
        wrong += any(r != (1, rows) for r in rank_ranges(means))
    # 5 %, and three standard errors of a share found in 600 groups.
    assert wrong / groups <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / groups)


def test_rows_far_apart_get_their_own_ranks():
    random = np.random.default_rng(14)
    means = [mean_of_logs((np.exp(random.normal(0, 0.01, 5)) * v).tolist(), ["a"] * 5) for v in (3.0, 1.0, 1.002, 2.0)]
    assert rank_ranges(means) == [(4, 4), (1, 2), (1, 2), (3, 3)]


def test_values_without_any_spread_are_apart_only_if_they_differ():
    same = Mean(0.0, 0.0, 2, 3, 1)
    assert rank_ranges([same, same, Mean(1.0, 0.0, 2, 3, 1)]) == [(1, 2), (1, 2), (3, 3)]


def test_holm_steps_down():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == [True, False, False, True]
    assert holm(np.array([])).tolist() == []


def test_welch_agrees_with_scipy():
    random = np.random.default_rng(15)
    a, b = np.exp(random.normal(0, 0.1, 5)), np.exp(random.normal(0.2, 0.3, 4))
    ours = compare_means(mean_of_logs(a.tolist(), ["a"] * 5), mean_of_logs(b.tolist(), ["a"] * 4))
    theirs = stats.ttest_ind(np.log(a), np.log(b), equal_var=False)
    assert ours.p == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval(0.95)
    assert ours.interval == pytest.approx((np.exp(interval.low), np.exp(interval.high)))


def test_ratio_interval_holds_the_truth():
    random = np.random.default_rng(16)
    hits = 0
    for _ in range(1_000):
        a = mean_of_logs(np.exp(random.normal(0.3, 0.05, 4)).tolist(), ["a"] * 4)
        b = mean_of_logs(np.exp(random.normal(0.0, 0.02, 5)).tolist(), ["a"] * 5)
        low, high = compare_means(a, b).interval
        hits += low <= np.exp(0.3) <= high
    assert 0.93 <= hits / 1_000 <= 0.97
