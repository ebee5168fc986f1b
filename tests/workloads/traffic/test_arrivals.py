"""Arrivals are the processes that they say they are, and the same from the same seeds.

Bounds are five standard errors or p = 1e-6: with other seeds a right process would fail less than once in a million.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.traffic.arrivals import stagger_offsets
from joulemark.workloads.traffic.make import make_traffic
from joulemark.workloads.traffic.tables import Tables
from joulemark.workloads.workload import Arrivals, Stretch, Workload

COUNT = 200_000
SIGMAS = 5.0
RATE = 37.0


def traffic(arrivals: Arrivals | str, seed: int = 7, prompt_seed: int = 11):
    workload = Workload(8, 4, None if isinstance(arrivals, Arrivals) else 4, arrivals, seed=seed)
    return make_traffic(workload, prompt_seed=prompt_seed, vocab_size=100, tables=Tables())


def due(arrivals: Arrivals, count: int | None = COUNT, **seeds: int) -> np.ndarray:
    return np.fromiter(itertools.islice(traffic(arrivals, **seeds).due_s(), count), float)


SHAPES = [("poisson", None), ("gamma", 0.25), ("gamma", 0.5), ("gamma", 4.0)]


@pytest.fixture(scope="module", params=SHAPES, ids=lambda p: f"{p[0]}-{p[1]}")
def renewal(request):
    process, burstiness = request.param
    return due(Arrivals(process, RATE, burstiness)), burstiness or 1.0


def test_the_mean_rate_is_the_one_asked_for(renewal):
    times, shape = renewal
    assert times[-1] == pytest.approx(COUNT / RATE, rel=SIGMAS / math.sqrt(shape * COUNT))


def test_gaps_have_the_coefficient_of_variation_that_burstiness_means(renewal):
    times, shape = renewal
    gaps = np.diff(times, prepend=0.0)
    # The standard error of the coefficient of a gamma sample, from its moments.
    error = math.sqrt((0.5 + 0.5 / shape) / COUNT)
    assert gaps.std() / gaps.mean() == pytest.approx(1 / math.sqrt(shape), rel=SIGMAS * error)


def test_gaps_have_the_whole_distribution(renewal):
    times, shape = renewal
    gaps = np.diff(times, prepend=0.0)
    assert stats.kstest(gaps, stats.gamma(shape, scale=1 / (shape * RATE)).cdf).pvalue > 1e-6


def test_gaps_do_not_depend_on_each_other(renewal):
    times, _ = renewal
    ranks = stats.rankdata(np.diff(times, prepend=0.0)) - (COUNT + 1) / 2
    for lag in (1, 2, 3, 10, 4096):
        correlation = (ranks[:-lag] * ranks[lag:]).mean() / ranks.var()
        assert abs(correlation) < 5.5 / math.sqrt(COUNT - lag)


def test_counts_are_dispersed_as_the_process_says(renewal):
    times, shape = renewal
    # Bins of 50 mean gaps: long enough for the limit 1/shape of a renewal process to within a percent or two.
    bins = int(times[-1] * RATE / 50)
    counts = np.histogram(times, bins=bins, range=(0, bins * 50 / RATE))[0]
    index = counts.var(ddof=1) / counts.mean()
    assert index == pytest.approx(1 / shape, rel=0.02 + SIGMAS * math.sqrt((2 + 6 / shape / 50) / bins))


def test_constant_arrivals_are_even_and_do_not_drift():
    times = due(Arrivals("constant", 3.0), 1_000_000)
    assert np.array_equal(times, np.arange(1_000_000) / 3.0)


@pytest.mark.parametrize("process", ["constant", "poisson"])
def test_a_ramp_has_its_rate_everywhere(process):
    stretch = Stretch(10.0, 190.0, 300.0)
    times = due(Arrivals(process, stretches=(stretch,)), None)
    assert np.all(np.diff(times) >= 0)
    assert times[0] >= 0
    assert times[-1] < 300
    expected = 10 * times + 0.3 * times**2  # the integral of a rate that grows by 0.6/s every second
    if process == "constant":
        assert expected == pytest.approx(np.arange(len(times)), abs=1e-6)
        assert len(times) == 30_000
    else:
        assert abs(len(times) - 30_000) < SIGMAS * math.sqrt(30_000)
        assert stats.kstest(np.diff(expected, prepend=0.0), stats.expon.cdf).pvalue > 1e-6


def test_a_ramp_down_to_nothing_ends():
    times = due(Arrivals("constant", stretches=(Stretch(8.0, 0.0, 10.0),)), None)
    assert len(times) == 40
    assert times[-1] < 10


def test_steps_follow_one_another():
    steps = (Stretch(50.0, 50.0, 100.0), Stretch(0.0, 0.0, 20.0), Stretch(400.0, 400.0, 100.0))
    asked = traffic(Arrivals("poisson", stretches=steps))
    times = np.fromiter(asked.due_s(), float)
    assert (asked.steady, asked.duration_s) == (False, 220.0)
    inside = [int(((times >= a) & (times < b)).sum()) for a, b in ((0, 100), (100, 120), (120, 220))]
    assert inside[1] == 0
    assert abs(inside[0] - 5_000) < SIGMAS * math.sqrt(5_000)
    assert abs(inside[2] - 40_000) < SIGMAS * math.sqrt(40_000)
    assert len(times) == sum(inside)


def test_the_same_seeds_give_the_same_times_and_others_do_not():
    asked = Arrivals("gamma", 4.0, 0.5)
    assert np.array_equal(due(asked, 10_000), due(asked, 10_000))
    for other in (due(asked, 10_000, seed=8), due(asked, 10_000, prompt_seed=12)):
        assert abs(np.corrcoef(np.diff(other), np.diff(due(asked, 10_000)))[0, 1]) < 5.5 / math.sqrt(10_000)


@pytest.mark.parametrize(("process", "burstiness"), [("poisson", None), ("gamma", 0.5)])
def test_the_first_times_never_change(process, burstiness):
    assert due(Arrivals(process, 1.0, burstiness), 4) == pytest.approx(GOLDEN[process], rel=1e-12)


def test_another_rate_stretches_the_same_gaps():
    asked = traffic(Arrivals("poisson", 5.0))
    slow = np.fromiter(itertools.islice(asked.due_s(), 9_000), float)
    fast = np.fromiter(itertools.islice(asked.at_rate(20.0).due_s(), 9_000), float)
    assert fast == pytest.approx(slow / 4, rel=1e-12)
    assert asked.at_rate(20.0).steady


def test_what_has_no_rate_says_so():
    with pytest.raises(BadInput, match="no rate is known yet"):
        next(traffic(Arrivals("poisson")).due_s())
    assert next(traffic(Arrivals("poisson")).at_rate(2.0).due_s()) > 0
    with pytest.raises(BadInput, match="a closed loop has no schedule"):
        traffic("closed").due_s()
    with pytest.raises(BadInput, match="a closed loop has no rate"):
        traffic("closed").at_rate(2.0)
    with pytest.raises(BadInput, match="no one rate"):
        traffic(Arrivals("poisson", stretches=(Stretch(1.0, 2.0, 3.0),))).at_rate(2.0)


def test_what_loops_are():
    closed, steady = traffic("closed"), traffic(Arrivals("poisson", 2.0))
    assert (closed.open_loop, closed.steady, closed.duration_s, closed.turns) == (False, True, None, 1)
    assert (steady.open_loop, steady.steady, steady.duration_s) == (True, True, None)
    assert not steady.saturating().open_loop


def test_streams_of_a_closed_loop_start_staggered():
    assert stagger_offsets(4, 2.0) == [0.0, 0.5, 1.0, 1.5]


GOLDEN = {
    "poisson": [0.02684265793153016, 1.3550952797006757, 2.2647306446598092, 2.3084762792837745],
    "gamma": [4.924034635985208, 5.038550616305967, 5.317593891374367, 9.420775499665222],
}
