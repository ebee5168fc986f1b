"""How often to read a meter follows from what it was seen to do."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.sampler.cadence import COST_AT_MOST, FASTEST_S, SLOWEST_S, read_intervals_s, update_period_s
from joulemark.agents.sampler.probe import AT_MOST_S, Probe, timings
from joulemark.agents.sampler.schedule import Schedule

BOARD = Channel("GPU-1", "gpu_board", "counter")
MEMORY = Channel("GPU-1", "gpu_memory", "sampled")


def stepping(period_s, phase_s=0.0, every_s=0.004, seconds=2.0):
    instants = [i * every_s for i in range(round(seconds / every_s))]
    return instants, [math.floor((t + phase_s) / period_s) for t in instants]


@given(st.floats(0.02, 0.6), st.floats(0.0, 1.0))
def test_the_period_of_a_counter_is_found(period_s, phase):
    found = update_period_s(*stepping(period_s, phase * period_s))
    assert found == pytest.approx(period_s, rel=0.05, abs=0.004)


def test_a_power_reading_that_comes_out_the_same_now_and_then_does_not_look_slower():
    instants, steps = stepping(0.1, seconds=4.0)
    # Every third new value is the one before it again.
    assert update_period_s(instants, [s - (s % 3 == 2) for s in steps]) == pytest.approx(0.1, rel=0.03)


def test_what_hardly_changes_has_no_period():
    assert update_period_s([0.0, 0.1, 0.2], [5, 5, 5]) is None
    assert update_period_s(*stepping(0.9)) is None
    assert update_period_s([], []) is None


def interval_s(update_s, cost_s=1e-5, fails_below_s=None):
    return read_intervals_s({"m": update_s}, {"m": cost_s}, {"m": fails_below_s}, 0.1)["m"]


@pytest.mark.parametrize(
    ("update_s", "interval"), [(0.1, 0.1 / 2.618), (0.25, 0.25 / 2.618), (0.001, 1 / 30), (30.0, 0.5), (None, 0.1)]
)
def test_a_few_times_faster_than_it_changes_within_bounds(update_s, interval):
    assert interval_s(update_s) == pytest.approx(interval)


def test_eight_devices_at_50_us_a_call_are_read_20_to_30_times_a_second():
    assert 20 <= 1 / interval_s(0.1, cost_s=8 * 55e-6) <= 30


def test_dear_reads_are_rarer_but_not_rarer_than_twice_a_second():
    assert interval_s(0.1, cost_s=2e-3) == pytest.approx(0.2)
    assert interval_s(0.1, cost_s=1.0) == SLOWEST_S


def test_never_faster_than_it_can_be_read():
    assert interval_s(0.05, fails_below_s=0.128) == 0.128


METERS = st.dictionaries(
    st.text(min_size=1, max_size=3),
    st.tuples(st.none() | st.floats(1e-4, 60), st.floats(1e-7, 1e-2), st.none() | st.floats(0.004, 2)),
    min_size=1,
    max_size=6,
)


@given(METERS)
def test_all_reads_together_are_cheap_unless_even_the_slowest_pace_is_dear(meters):
    updates, costs, fails = ({n: m[i] for n, m in meters.items()} for i in range(3))
    every = read_intervals_s(updates, costs, fails, 0.1)
    total = sum(costs[n] / every[n] for n in meters)
    slowest = sum(costs[n] / SLOWEST_S for n in meters)
    assert total <= COST_AT_MOST * 1.0001 + slowest
    for name, interval in every.items():
        assert FASTEST_S <= interval <= max(SLOWEST_S, fails[name] or 0)
        assert interval >= (fails[name] or 0)


def test_a_dear_meter_does_not_slow_a_cheap_one():
    every = read_intervals_s(
        {"rapl": 0.001, "nvml": 0.1}, {"rapl": 2e-5, "nvml": 5e-3}, {"rapl": None, "nvml": None}, 0.1
    )
    assert every["rapl"] == FASTEST_S
    assert every["nvml"] > 0.4


def probed(read, cost_s=2e-4):
    """Drive a probe with a meter's ``read`` of an instant and the time since the last read, in a simulated time."""
    probe, now_s, last_s = Probe(), 0.0, -1.0
    while not probe.enough(now_s):
        probe.add(now_s, cost_s, cost_s, read(now_s, now_s - last_s))
        last_s, now_s = now_s, now_s + probe.interval_s
    return probe


def test_a_meter_with_two_sensors_is_read_for_the_faster_one():
    def read(t, _):
        return [
            Reading(BOARD, 1000 + math.floor(t / 0.1), math.floor(t / 0.1)),
            Reading(MEMORY, math.floor(t / 0.2), None),
        ]

    timing = timings({"nvml": probed(read)}, 0.1)["nvml"]
    assert timing.energy_s == {"gpu_board": pytest.approx(0.1, rel=0.03)}
    assert timing.power_s["gpu_memory"] == pytest.approx(0.2, rel=0.03)
    assert timing.every_s == pytest.approx(0.1 / 2.618, rel=0.03)
    assert (timing.read_us, timing.read_cpu_us) == (pytest.approx(200), pytest.approx(200))
    assert timing.fails_below_s is None


def test_a_meter_that_fails_when_read_too_often_is_read_slower():
    def read(t, since):
        if since < 0.06:
            return [Reading(BOARD, None, None, "too soon")]
        return [Reading(BOARD, 1, math.floor(t / 0.1))]

    timing = timings({"m": probed(read)}, 0.1)["m"]
    assert timing.fails_below_s == 0.064
    assert timing.every_s == 0.064


def test_a_device_that_is_away_for_a_while_does_not_slow_the_meter_for_good():
    for away_s in (0.001, 0.02, 0.1, 0.3, 0.7):

        def read(t, _, back_s=0.4 + away_s):
            away = 0.4 <= t < back_s
            return [Reading(BOARD, *((None, None, "lost") if away else (1, math.floor(t / 0.1))))]

        timing = timings({"m": probed(read)}, 0.1)["m"]
        assert timing.fails_below_s is None
        assert timing.every_s == pytest.approx(0.04, rel=0.1)


def test_what_is_missing_for_good_does_not_slow_the_rest():
    def read(t, _):
        return [Reading(BOARD, 1, math.floor(t / 0.1)), Reading(MEMORY, None, None, "not supported")]

    timing = timings({"m": probed(read)}, 0.1)["m"]
    assert timing.fails_below_s is None
    assert timing.every_s == pytest.approx(0.1 / 2.618, rel=0.03)


def test_a_meter_that_always_fails_still_gets_a_pace():
    timing = timings({"m": probed(lambda t, _: [Reading(BOARD, None, None, "lost")])}, 0.1)["m"]
    assert (timing.every_s, timing.update_s) == (0.1, None)


def test_a_slow_read_is_not_made_all_the_time():
    reads = []
    probed(lambda t, _: reads.append(t) or [Reading(BOARD, 1, 1)], cost_s=0.02)
    assert len(reads) <= AT_MOST_S / (4 * 0.02) + 2


@given(st.lists(st.integers(0, 5_000), max_size=50))
def test_deadlines_neither_drift_nor_pile_up(delays):
    schedule, interval = Schedule(None, 100, 7), 100
    skipped, now = 0, 7
    for rounds, delay in enumerate(delays, 1):
        now = max(now, schedule.deadline_ns) + delay
        skipped += schedule.advance(now)
        assert schedule.deadline_ns == 7 + (rounds + skipped) * interval
        assert now <= schedule.deadline_ns <= now + interval
