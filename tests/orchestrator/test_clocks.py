"""Offsets of clocks: the quickest exchange counts, its error is bounded, a jump is said."""

import random

import pyarrow.parquet as pq
import pytest

from joulemark.agents.clock_offset import Exchange, offset
from joulemark.orchestrator.clocks import ClockRecord
from joulemark.warehouse.store.location import Warehouse

S = 1_000_000


def exchanges(true_us, seed, number=8, at_us=1_000 * S):
    """Exchanges with another clock that is ``true_us`` behind, over a network whose two ways differ."""
    chance = random.Random(seed)  # noqa: S311 -- made-up delays
    found = []
    for _ in range(number):
        there, back = (chance.expovariate(1 / 900) + 100 for _ in range(2))
        found.append(Exchange(at_us, round(at_us + there - true_us), round(at_us + there + back)))
        at_us += 5_000
    return found


@pytest.mark.parametrize("true_us", [0, 3, -3_000_000, 17 * 3600 * S])
def test_the_stated_uncertainty_holds_whatever_the_two_ways_take(true_us):
    for seed in range(200):
        found = offset(exchanges(true_us, seed))
        assert abs(found.offset_us - true_us) <= found.uncertainty_us


def test_the_quickest_exchange_counts():
    slow, quick = Exchange(0, 90_000, 100_000), Exchange(200_000, 200_050, 200_100)
    found = offset([slow, quick])
    assert (found.offset_us, found.uncertainty_us, found.at_us) == (0, 51, 200_050)


def test_the_best_estimate_wins_until_it_may_have_drifted_or_the_clock_has_jumped(record):
    assert record.best is None
    record.add([Exchange(0, 50, 100)])
    record.add([Exchange(10 * S, 10 * S + 3_000, 10 * S + 6_000)])
    assert record.best.at_us == 50
    assert record.best.uncertainty_us == pytest.approx(51 + 5e-5 * 10 * S, abs=2)
    record.add([Exchange(900 * S, 900 * S + 3_000, 900 * S + 6_000)])
    assert record.best.at_us == 900 * S + 3_000
    record.add([Exchange(901 * S, 899 * S, 901 * S + 40_000)])
    assert record.best.at_us == 899 * S, "what was known before a jump is nothing any more"


@pytest.fixture
def record():
    told = []
    made = ClockRecord("n1", "boot-1", "head", told.append)
    made.told = told
    return made


def test_estimates_are_rows_of_clocks_each_written_once(record, tmp_path):
    warehouse = Warehouse.at(tmp_path)
    record.add(exchanges(-5 * S, 1))
    record.write(warehouse)
    record.write(warehouse)
    record.add(exchanges(-5 * S, 2, at_us=1_010 * S))
    record.write(warehouse, every_s=3600.0)
    assert len(warehouse.list("clocks", ".parquet")) == 1
    record.write(warehouse)
    files = warehouse.list("clocks", ".parquet")
    assert len(files) == 2
    rows = [r for f in files for r in pq.read_table(warehouse.path(f)).to_pylist()]
    assert [(r["node"], r["reference"], r["boot"]) for r in rows] == [("n1", "head", "boot-1")] * 2
    for row in rows:
        assert abs(row["offset_us"] + 5 * S) <= row["uncertainty_us"] < 5_000


def test_a_clock_that_is_far_off_is_said_once(record):
    record.add(exchanges(-5 * S, 1))
    record.add(exchanges(-5 * S, 2))
    assert len(record.told) == 1
    assert "+5.0 s off head's" in record.told[0]


def test_a_jump_is_said_and_drift_is_not(record):
    record.add(exchanges(0, 1))
    record.add(exchanges(2_000, 2))
    assert record.told == []
    record.add(exchanges(-2 * S, 3))
    assert "jumped by +2.00 s" in record.told[0]
