"""The stated uncertainty: its parts against loads whose energy is known, its rate of covering the truth, its width."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from energy_coverage import Coverage, coverage, pooled
from energy_error import begin_and_end_j, once_a_second_j, ours_j
from simulated import draw

from joulemark.warehouse.build.changes import in_order
from joulemark.warehouse.build.clocks import DRIFT, Clocks, well_known
from joulemark.warehouse.build.energy import counter_energy, power_integral
from joulemark.warehouse.build.gain import GPU_SENSOR, SensorBound, sensor_bound, with_gain_j
from joulemark.warehouse.build.trial_energy import choice
from joulemark.warehouse.build.updates import power_updates
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table
from joulemark.warehouse.verify.loads import LOADS

S = 1_000_000
T0 = 1_760_000_000_000_000


@pytest.fixture(scope="module")
def found():
    """Coverage of every load at 10 s, 120 draws each: always the same draws."""
    return {kind: coverage(kind, 10, 120) for kind in LOADS}


@pytest.mark.parametrize("method", ["counter", "integral"])
def test_the_truth_is_covered_as_often_as_stated(found, method):
    whole = pooled([parts[method, True] for parts in found.values()])
    assert 0.93 <= whole.covered <= 0.985
    assert pooled([parts[method, False] for parts in found.values()]).covered >= 0.93


@pytest.mark.parametrize("kind", LOADS)
def test_what_is_stated_is_not_much_wider_than_needed(found, kind):
    for method in ("counter", "integral"):
        assert 0.4 < found[kind][method, False].width < 2
        assert 0.8 < found[kind][method, True].width < 1.4


def test_a_statement_that_is_too_narrow_would_be_seen(found):
    honest = found["steady"]["counter", True]
    assert Coverage(honest.errors, honest.stated / 2).covered < 0.7


@pytest.mark.parametrize("kind", LOADS)
def test_the_error_is_smaller_than_other_ways_leave(kind):
    draws = [draw(kind, seconds, n) for n in range(25) for seconds in (1, 10)]
    rms = {
        name: np.sqrt(np.mean([(way(d) / d.true_j - 1) ** 2 for d in draws]))
        for name, way in {
            "ours": ours_j,
            "begin and end": begin_and_end_j,
            "power.draw": lambda d: once_a_second_j(d, d.mean_mw),
            "instant": lambda d: once_a_second_j(d, d.power_mw),
        }.items()
    }
    assert min(rms, key=rms.get) == "ours"


def test_parts_of_a_counter_and_of_an_integral():
    counter, integral = (draw("bursty", 10, 3).estimates()[m].budget for m in ("counter", "integral"))
    assert counter.transient_j == 0 < counter.edge_j
    assert integral.transient_j > 5 * integral.edge_j
    assert counter.clock_j == integral.clock_j == 0
    assert integral.total_j == pytest.approx(np.hypot(integral.edge_j, integral.transient_j))


def test_a_late_poll_that_hides_a_step_does_not_move_the_others():
    one = draw("steady", 30, 8)
    late = np.abs(one.t_us - (one.start_us - 100_000)) > 90_000
    whole, holed = (
        counter_energy(one.t_us[k], one.energy_uj[k], one.start_us, one.end_us) for k in (slice(None), late)
    )
    assert abs(holed.energy_j / one.true_j - 1) < 5e-4
    assert abs(holed.energy_j - whole.energy_j) <= whole.uncertainty_j


def test_transients_grow_with_how_much_the_readings_vary():
    t_us = np.arange(T0, T0 + 40 * S, 100_000, dtype=np.int64)
    noise = np.random.default_rng(1).normal(0, 1, len(t_us))
    parts = [
        power_integral(t_us, np.rint(300_000 + spread * noise).astype(np.int64), T0 + 10 * S, T0 + 30 * S).budget
        for spread in (3_000, 30_000)
    ]
    # 200 readings of which each stands for 0.1 s, three quarters of it unseen.
    assert parts[0].transient_j == pytest.approx(1.96 * 0.1 * np.sqrt(200 * 0.75) * 3, rel=0.3)
    assert parts[1].transient_j == pytest.approx(10 * parts[0].transient_j, rel=0.01)


def test_a_clock_that_is_off_costs_its_offset_times_the_difference_of_power():
    t_us = np.arange(T0, T0 + 60 * S, 100_000, dtype=np.int64)
    power = np.where(t_us < T0 + 40 * S, 500_000, 100_000)
    windows = {
        "within one level": (T0 + 10 * S, T0 + 30 * S, 0.0),
        "into the next": (T0 + 10 * S, T0 + 50 * S, 0.8 * 400),
    }
    for start, end, expected in windows.values():
        estimate = power_integral(t_us, power, start, end, clock_us=800_000.0)
        assert estimate.budget.clock_j == pytest.approx(expected, rel=1e-6, abs=1e-6)
    unknown = power_integral(t_us, power, T0 + 10 * S, T0 + 30 * S, clock_us=None)
    assert (unknown.budget.clock_j, unknown.uncertainty_j) == (None, None)
    assert unknown.energy_j is not None


def test_repeated_polls_are_not_readings():
    random = np.random.default_rng(2)
    held = np.repeat(random.integers(100_000, 700_000, 400), 7)
    t_us = T0 + np.arange(len(held)) * 14_300
    _, values, period_us = power_updates(t_us, held)
    assert abs(len(values) - 400) <= 2
    assert period_us == pytest.approx(7 * 14_300, rel=1e-3)
    often = power_integral(t_us, held, T0 + 5 * S, T0 + 35 * S)
    once = power_integral(t_us[::7], held[::7], T0 + 5 * S, T0 + 35 * S)
    assert often.energy_j == pytest.approx(once.energy_j, rel=1e-3)
    assert often.budget.transient_j == pytest.approx(once.budget.transient_j, rel=0.1)


def test_a_field_that_holds_its_value_is_not_drawn_out():
    """50 W for a long time, then 100 W: no ramp from the one to the other over that time."""
    random = np.random.default_rng(3)
    powers = np.concatenate((random.integers(49_000, 51_000, 50), [50_000] * 100, random.integers(99_000, 101_000, 50)))
    t_us = T0 + np.arange(len(powers) * 5) * 20_000
    estimate = power_integral(t_us, np.repeat(powers, 5), T0 + 6 * S, T0 + 14 * S)
    assert estimate.energy_j == pytest.approx(8 * 50, rel=2e-3)


def test_gain_and_offset_alone_and_with_the_rest():
    bound = SensorBound(0.05, 0.0)
    assert with_gain_j(1000, 10, 0.0, bound) == pytest.approx(0.95 * 50, rel=1e-3)
    assert with_gain_j(1000, 10, 30.0, SensorBound(0.0, 0.0)) == pytest.approx(30, rel=1e-2)
    random = np.random.default_rng(4)
    error = 50 * random.uniform(-1, 1, 400_000) + 20 * random.uniform(-1, 1, 400_000) + 15 * random.normal(size=400_000)
    assert with_gain_j(1000, 10, 1.96 * 15, SensorBound(0.05, 2.0)) == pytest.approx(
        np.quantile(np.abs(error), 0.95), rel=5e-3
    )
    assert with_gain_j(0.0, 10, 0.0, bound) == 0.0


def test_bounds_are_stated_where_there_is_a_source():
    assert sensor_bound("gpu_board", "counter") == GPU_SENSOR
    for scope, fidelity in (("gpu_board", "simulated"), ("cpu_package", "counter"), ("cpu_process", "modelled")):
        assert sensor_bound(scope, fidelity) is None


def test_a_counter_gives_way_where_it_says_little():
    for seconds, expected in ((0.4, "integral"), (10, "counter")):
        estimates = {m: e for m, e in draw("steady", seconds, 5).estimates().items() if m in ("counter", "integral")}
        assert choice(estimates) == expected
        assert choice(estimates, measured=False) == "counter"
        assert choice({"counter": estimates["counter"]}) == "counter"
    nothing = counter_energy(np.empty(0, np.int64), np.empty(0, np.int64), T0, T0 + S)
    assert choice({"counter": nothing, "integral": estimates["integral"]}) == "integral"
    assert choice({"counter": nothing}) == "counter"


def test_readings_at_one_instant_count_once():
    t_us, values = in_order(np.array([3, 1, 3, 2]), np.array([30, 10, 31, 20]))
    assert (t_us.tolist(), values.tolist()) == ([1, 2, 3], [10, 20, 30])


def test_clocks_of_a_trial_s_nodes(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    rows = [
        {"node": n, "boot": "b", "reference": "a", "t": T0 + s * S, "offset_us": o, "uncertainty_us": u}
        for n, s, o, u in (("b", 0, 7, 900), ("b", 100, 7, 40), ("c", 90, -5 * S, 10))
    ]
    write_table(warehouse, DATASETS["clocks"], "clocks/x.parquet", pa.Table.from_pylist(rows, DATASETS["clocks"].arrow))
    warehouse.write("clocks/broken.parquet", b"PAR1")
    clocks = Clocks(warehouse, ("clocks/x.parquet", "clocks/broken.parquet"))
    at = T0 + 90 * S
    drifted = DRIFT * 10 * S
    assert clocks.uncertainty_us("b", {"b": at}) == 0
    assert clocks.warnings == (), "nobody asked for another clock"
    assert clocks.uncertainty_us("b", {"a": at + 7, "b": at}) == pytest.approx(40 + drifted)
    assert clocks.uncertainty_us("a", {"a": at + 7, "b": at}) == pytest.approx(40 + drifted)
    assert ["broken" in w for w in clocks.warnings] == [True]
    same = {"a": at + 7, "b": at, "c": at + 7 + 5 * S}
    assert clocks.uncertainty_us("c", same) == pytest.approx(10 + 40 + drifted + DRIFT * (5 * S + 7))
    assert clocks.uncertainty_us("a", {"a": at, "d": at}) is None
    assert clocks.uncertainty_us("d", {"a": at, "d": at}) is None
    # A window that was laid down by clocks as they show, five seconds apart.
    assert clocks.uncertainty_us("c", {"a": at, "c": at}) > 4.9 * S
    assert not well_known(clocks.uncertainty_us("c", {"a": at, "c": at}))
    assert well_known(clocks.uncertainty_us("c", same))
    assert not well_known(None)
