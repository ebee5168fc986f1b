"""Where instants lie among the points of a curve: guessed for many, and the same as searched for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from joulemark.warehouse.build.curve import MANY, Curve


def searched(points, t_us):
    return np.clip(np.searchsorted(points, t_us, side="right") - 1, 0, len(points) - 2)


@given(
    st.lists(st.integers(1, 10**7), min_size=1, max_size=300),
    st.integers(-(10**6), 10**6),
    st.integers(0, 2**32 - 1),
)
def test_many_instants_lie_where_a_search_finds_them(steps_us, before_us, seed):
    points = 1_790_000_000_000_000 + np.cumsum([0, *steps_us])
    random = np.random.default_rng(seed)
    low, high = min(points[0], points[0] + before_us), max(points[-1], points[-1] + before_us)
    asked = np.concatenate((random.integers(low, high + 1, MANY), random.choice(points, MANY)))
    found = Curve(points, np.arange(len(points), dtype=float)).segment(asked)
    assert found.tolist() == searched(points, asked).tolist()


def test_a_series_that_is_even_but_for_a_gap():
    points = np.concatenate((np.arange(0, 10**7, 100_000), np.arange(3 * 10**7, 4 * 10**7, 100_000)))
    points += np.random.default_rng(1).integers(-300, 300, len(points))
    asked = np.random.default_rng(2).integers(points[0], points[-1], 5_000)
    curve = Curve(points, np.arange(len(points), dtype=float))
    assert curve.segment(asked).tolist() == searched(points, asked).tolist()
