"""Shares of the window's energy: they add up, and agree with a slow integration step by step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import Meter, Spec, add_trial

from joulemark.warehouse.build.request_energy import Activity, equal_shares
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema.trial import Interval
from joulemark.warehouse.store.location import Warehouse

WINDOW = Interval(1_000, 2_000)


def shares(spans, energy):
    sent, done = (np.array([s[i] for s in spans], dtype=np.int64) for i in (0, 1))
    activity = Activity.of(WINDOW, sent, done)
    assert (np.diff(activity.edges_us) > 0).all()
    return equal_shares(energy(activity.edges_us), activity)


def slow_shares(spans, energy):
    """Divide the energy of every microsecond among those active in it."""
    out, rest = np.zeros(len(spans)), 0.0
    pieces = np.diff(energy(np.arange(WINDOW.start_us, WINDOW.end_us + 1)))
    for t, piece in enumerate(pieces, WINDOW.start_us):
        active = [i for i, (a, b) in enumerate(spans) if a <= t < b]
        for i in active:
            out[i] += piece / len(active)
        if not active:
            rest += piece
    return out, rest


span = st.tuples(st.integers(500, 2500), st.integers(0, 900)).map(lambda s: (s[0], s[0] + s[1]))


@given(st.lists(span, max_size=8))
def test_shares_agree_with_the_slow_way_and_add_up(spans):
    def energy(t):
        return (t - 900.0) ** 2 * 1e-3

    fast, rest = shares(spans, energy)
    slow, slow_rest = slow_shares(spans, energy)
    assert fast == pytest.approx(slow, rel=1e-9, abs=1e-9)
    assert rest == pytest.approx(slow_rest, rel=1e-9, abs=1e-9)
    whole = energy(np.array(WINDOW.end_us)) - energy(np.array(WINDOW.start_us))
    assert fast.sum() + rest == pytest.approx(whole, rel=1e-12)


def test_two_at_once_do_not_pay_twice():
    fast, rest = shares([(1_000, 2_000), (1_000, 2_000)], lambda t: t * 1.0)
    assert fast.tolist() == [500.0, 500.0]
    assert rest == 0


GPU = Meter("nvml", "GPU-1", "gpu_board", "counter", poll_us=30_000, step_us=100_000)
TRIALS = {
    "counter": Spec(),
    "power only": Spec(meters=(Meter(counter=False),)),
    "several devices": Spec(
        devices=("GPU-1", "GPU-2"),
        accelerator="H100",
        meters=(
            GPU,
            Meter("nvml", "GPU-2", "gpu_board", "counter", counter=False, share=0.5),
            Meter("rapl", "0", "cpu_package", "counter"),
        ),
    ),
    "two nodes": Spec(nodes=("node-a", "node-b")),
    "failed requests": Spec(fail_every=3),
    "idle times": Spec(concurrency=1, ttft_us=20_000, output_tokens=2),
}


@pytest.mark.parametrize("name", TRIALS)
def test_shares_and_rest_make_the_window(tmp_path, name):
    warehouse = Warehouse.at(tmp_path)
    truth = add_trial(warehouse, TRIALS[name], 0)
    with open_warehouse(warehouse) as connection:
        rows = connection.sql("from request_energy").to_pylist()
        (trial,) = connection.sql("""
            from trial_results
            where boundary = (select any_value(boundary) from request_energy)
        """).to_pylist()
    assert sum(r["energy_j"] for r in rows) == pytest.approx(trial["energy_j"], rel=1e-9)
    assert [r["request"] for r in rows].count(None) == 1
    assert trial["boundary"] == ("gpu" if "GPU-1" in TRIALS[name].devices else "cpu")
    active = [i for i, (a, b) in enumerate(truth.requests) if a < truth.window.end_us and b > truth.window.start_us]
    assert sorted(r["request"] for r in rows if r["request"] is not None) == active


def test_the_share_of_one_alone_is_its_time_times_power(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    truth = add_trial(warehouse, TRIALS["idle times"], 0)
    with open_warehouse(warehouse) as connection:
        rows = {r["request"]: r["energy_j"] for r in connection.sql("from request_energy").to_pylist()}
    idle_j = rows.pop(None)
    for number, energy_j in rows.items():
        sent, done = truth.requests[number]
        inside_us = min(done, truth.window.end_us) - max(sent, truth.window.start_us)
        assert energy_j == pytest.approx(inside_us / 1e6 * 50.0, rel=1e-6)
    assert 0 < idle_j < 50.0 * 10
