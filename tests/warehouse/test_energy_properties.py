"""What must hold of energy whatever the readings are: additive, the same in any order, shares that sum, never NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.warehouse.build.energy import counter_energy, power_integral
from joulemark.warehouse.build.readings import Series
from joulemark.warehouse.build.request_energy import Activity, cumulative_j, equal_shares
from joulemark.warehouse.schema.trial import Interval

S = 1_000_000
T0 = 1_760_000_000_000_000
METHODS = {"counter": counter_energy, "integral": power_integral}

gaps_us = st.lists(st.sampled_from([1, 900, 10_000, 33_000, 100_000, 101_000, 1_000_000, 4_000_000]), max_size=120)


@st.composite
def readings(draw):
    """Any readings: bunched, sparse, with gaps; powers or counters that repeat, jump, stand still and go back."""
    gaps = draw(gaps_us)
    t_us = T0 + np.cumsum([0, *gaps]).astype(np.int64)
    steps = draw(
        st.lists(st.sampled_from([0, 0, 0, 1, 50, 3_000, 7_000_000, -2_000]), min_size=len(t_us), max_size=len(t_us))
    )
    values = np.maximum(0, np.cumsum(steps)).astype(np.int64)
    return t_us, values


@st.composite
def good_readings(draw):
    """Readings without gaps or resets, of a meter that is slower or faster than its polls."""
    poll_us = draw(st.sampled_from([10_000, 33_000, 50_000, 100_000]))
    step = draw(st.integers(1, 5))
    count = draw(st.integers(200, 500))
    late = np.array(draw(st.lists(st.integers(0, 3_000), min_size=count, max_size=count)))
    powers = np.array(
        draw(st.lists(st.integers(50_000, 700_000), min_size=count // step + 1, max_size=count // step + 1))
    )
    t_us = T0 + np.arange(count) * poll_us + late
    held = np.repeat(powers, step)[:count]
    return t_us.astype(np.int64), {"integral": held, "counter": np.repeat(np.cumsum(powers), step)[:count]}


def inside(t_us, shares):
    return [int(t_us[0] + s * (t_us[-1] - t_us[0])) for s in sorted(shares)]


@settings(deadline=None)
@given(good_readings(), st.tuples(*[st.floats(0.05, 0.95)] * 3), st.sampled_from(list(METHODS)))
def test_adjacent_windows_add_up(found, cuts, method):
    t_us, values = found
    start, middle, end = inside(t_us, cuts)
    if not start < middle < end:
        return
    parts = [METHODS[method](t_us, values[method], *edges) for edges in ((start, middle), (middle, end), (start, end))]
    assert all(p.reasons == () for p in parts)
    assert parts[0].energy_j + parts[1].energy_j == pytest.approx(parts[2].energy_j, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(readings(), st.randoms(use_true_random=False), st.lists(st.integers(0, 200), max_size=20))
@pytest.mark.parametrize("method", METHODS)
def test_order_and_repeats_of_readings_do_not_matter(method, found, random, repeats):
    t_us, values = found
    edges = int(t_us[0]) + 1, int(t_us[-1]) + 2
    order = [*range(len(t_us)), *(r % len(t_us) for r in repeats)]
    random.shuffle(order)
    assert METHODS[method](t_us[order], values[order], *edges) == METHODS[method](t_us, values, *edges)


@settings(deadline=None)
@given(readings(), st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)), st.sampled_from([0.0, 2_000.0, None]))
@pytest.mark.parametrize("method", METHODS)
def test_a_figure_is_a_number_or_is_not_there_with_a_reason(method, found, cuts, clock_us):
    t_us, values = found
    start, end = inside(t_us, cuts)
    estimate = METHODS[method](t_us, values, start, end + 1, clock_us=clock_us)
    assert (estimate.energy_j is None) == (estimate.budget is None)
    assert estimate.energy_j is not None or estimate.reasons
    assert 0 <= estimate.coverage <= 1
    numbers = [estimate.energy_j, estimate.peak_w]
    if estimate.budget:
        budget = estimate.budget
        numbers += [budget.edge_j, budget.transient_j, budget.clock_j, budget.total_j]
        assert (budget.clock_j is None) == (clock_us is None) == (budget.total_j is None)
    assert all(n is None or (math.isfinite(n) and n >= 0) for n in numbers)


@settings(deadline=None)
@given(good_readings(), st.lists(st.tuples(st.floats(-0.1, 1.0), st.floats(0, 0.6)), max_size=12), st.booleans())
def test_shares_of_any_requests_sum_to_the_window_s_energy(found, spans, counts):
    t_us, values = found
    start, end = inside(t_us, (0.2, 0.8))
    yes = np.ones(len(t_us), dtype=bool)
    series = Series("m", "d", "gpu_board", "counter", t_us, values["integral"], yes, values["counter"], yes)
    method = "counter" if counts else "integral"
    window = Interval(start, end)
    sent = np.array([start + int(s * (end - start)) for s, _ in spans], dtype=np.int64)
    done = sent + np.array([int(d * (end - start)) for _, d in spans], dtype=np.int64)
    activity = Activity.of(window, sent, done)
    whole = cumulative_j([(series.curve(method, start, end), window)], activity.edges_us, window)
    shares_j, rest_j = equal_shares(whole, activity)
    expected = METHODS[method](t_us, values[method], start, end).energy_j
    assert shares_j.sum() + rest_j == pytest.approx(expected, rel=1e-9)
    assert np.isfinite(shares_j).all()
    assert (shares_j >= -1e-9).all()
