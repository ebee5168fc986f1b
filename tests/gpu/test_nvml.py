"""The NVML meter on real boards: how the counter steps, what the fields say, what a read costs.

Figures are given as properties of the tests (``pytest tests/gpu --junitxml=gpu.xml``) and printed with ``-s``.
Asserts hold for any board; what differs between boards is only reported.
"""

import time
from itertools import pairwise

import numpy as np
import pytest

from joulemark.agents.clock import NodeClock
from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import FieldRead, NvmlError
from joulemark.agents.meters.nvml.device_state import DeviceStates
from joulemark.agents.meters.nvml.sources import POWERS

WATCH_S = 4.0
IDLE_S = 10.0
CHEAP_S = 0.01
"""A read that takes longer than this cannot be made often enough to see 100 ms steps."""


@pytest.fixture
def report(record_property):
    """Give a figure to whoever reads the results."""

    def say(name, value):
        record_property(name, value)
        print(f"{name}: {value}")

    return say


def watch(meter, seconds):
    """Return instants in seconds and readings of the first board's board scope, read as often as possible."""
    board = meter.boards[0]
    rows = []
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        reading = next(r for r in board.read(meter.gpus) if r.channel.scope == "gpu_board")
        rows.append((now, reading.energy_uj, reading.power_mw))
        time.sleep(0.001)
    return rows


def changes(rows, column):
    return np.array([b[0] for a, b in pairwise(rows) if a[column] != b[column]])


def test_every_board_gives_power_and_says_where_from(meter, report):
    readings = meter.read()
    assert {r.channel.device for r in readings} == set(meter.gpus.gpus)
    for reading in readings:
        report(f"{reading.channel.scope} of {reading.channel.device}", f"{reading.power_mw} mW {reading.energy_uj} uJ")
        assert reading.reason is None
        assert reading.power_mw is not None or reading.energy_uj is not None
    report("description", meter.describe())


def test_the_counter_steps(meter, report):
    rows = watch(meter, WATCH_S)
    if rows[0][1] is None:
        pytest.skip("this board has no energy counter of its own")
    counter = [r[1] for r in rows]
    assert counter == sorted(counter)
    steps_s = np.diff(changes(rows, 1))
    assert len(steps_s) >= 3, f"the counter changed {len(steps_s)} times in {WATCH_S:g} s"
    report("counter step, median [ms]", round(1e3 * float(np.median(steps_s)), 2))
    report("counter step, longest [ms]", round(1e3 * float(steps_s.max()), 2))
    assert 0.001 < np.median(steps_s) < 1.0


def test_fields_185_and_186_by_scope(meter, report):
    gpu = meter.boards[0].gpu
    answers = dict(zip(POWERS, FieldRead(POWERS).read(gpu.handle), strict=True))
    for (field, scope), answer in answers.items():
        report(f"field {field} scope {scope}", str(answer))
    board = [v for (_, scope), v in answers.items() if scope == api.SCOPE_GPU and not isinstance(v, NvmlError)]
    limit_mw = api.limit_range_mw(gpu.handle)[1]
    assert all(0 < mw < 2 * limit_mw for mw in board)


def test_instant_power_refreshes(meter, report):
    rows = watch(meter, WATCH_S)
    refresh_s = np.diff(changes(rows, 2))
    if not len(refresh_s):
        pytest.skip("power did not change while it was watched")
    report("power refresh, median [ms]", round(1e3 * float(np.median(refresh_s)), 2))
    report("power refresh, shortest [ms]", round(1e3 * float(refresh_s.min()), 2))


def test_a_read_is_cheap(meter, report):
    board = meter.boards[0]
    took_s = []
    for _ in range(300):
        begun = time.perf_counter()
        board.read(meter.gpus)
        took_s.append(time.perf_counter() - begun)
        time.sleep(0.005)
    report("one read, median [us]", round(1e6 * float(np.median(took_s)), 1))
    report("one read, 99th percentile [us]", round(1e6 * float(np.quantile(took_s, 0.99)), 1))
    assert np.median(took_s) < CHEAP_S
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(300):
        board.read(meter.gpus)
    report("CPU share of a read", round((time.process_time() - cpu) / (time.perf_counter() - wall), 3))


def test_counter_and_integral_agree_at_idle(meter, report):
    rows = watch(meter, IDLE_S)
    if rows[0][1] is None or rows[0][2] is None:
        pytest.skip("this board has no counter or no power reading of its own")
    at = changes(rows, 1)
    values = {r[0]: r[1] / 1e6 for r in rows}
    counted_j = values[at[-1]] - values[at[0]]
    t_s = np.array([r[0] for r in rows])
    power_w = np.array([r[2] for r in rows]) / 1e3
    inside = (t_s >= at[0]) & (t_s <= at[-1])
    integral_j = float(np.trapezoid(power_w[inside], t_s[inside]))
    report("counter / integral", round(counted_j / integral_j, 4))
    assert counted_j == pytest.approx(integral_j, rel=0.2)


def test_device_state_has_what_every_board_knows(meter, report, tmp_path):
    states = DeviceStates("here", NodeClock.of_this_node(tmp_path), meter.gpus)
    begun = time.perf_counter()
    states.read()
    report("device state of all boards [ms]", round(1e3 * (time.perf_counter() - begun), 2))
    time.sleep(1.0)
    rows = states.read()
    assert {r["device"] for r in rows} == set(meter.gpus.gpus)
    for row in rows:
        report(str(row["device"]), row)
        assert row["memory_used_bytes"] is not None
        assert row["temperature_c"] is None or 0 < row["temperature_c"] < 120
        shares = [row[c] for c in ("utilization", "sm_active", "tensor_active", "dram_active")]
        assert all(s is None or 0 <= s <= 1.01 for s in shares)
