"""The leaderboard as text, comparisons, and the gate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic import Meter, Spec, add_trial, cells

from joulemark.warehouse import leaderboard
from joulemark.warehouse.check import Thresholds, check
from joulemark.warehouse.compare import compare, render
from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.store.location import Warehouse


@pytest.mark.parametrize("width", [None, 80, 140])
def test_every_row_with_rank_interval_grade_boundary_and_fidelity(shared, width):
    text = leaderboard.render(leaderboard.read(shared.connection), width=width)
    lines = text.splitlines()
    table = [line for line in lines if "tiny-" in line or line.startswith("rank")]
    assert len(table) == 5
    assert max(len(line) for line in table) <= (width or 1000)
    assert "boundary cpu, fidelity modelled" in lines[0]
    assert "not measured" in text
    for row in shared.connection.sql("from leaderboard").to_pylist():
        (line,) = (s for s in lines if f"{row['j_per_token']:#.3g} " in s and row["quantization"] in s)
        assert line.split()[0] == row["rank"]
        assert f"[{row['j_per_token_low']:#.3g}, {row['j_per_token_high']:#.3g}]" in line
        assert "quick" in line
    assert "1 failed and 1 invalid trials" in lines[-1]
    assert "from failures" in lines[-1]


def test_a_narrow_terminal_drops_only_what_is_not_essential(shared):
    lines = leaderboard.render(leaderboard.read(shared.connection), width=60).splitlines()
    header = next(line for line in lines if line.startswith("rank"))
    assert "TTFT" not in header
    assert "J/token" in header


def test_groups_and_a_single_trial(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    cells(warehouse, [Spec(), Spec(output_tokens=8)], repeats=2, spread=0.02)
    add_trial(warehouse, Spec(model="once"), 40)
    add_trial(warehouse, Spec(model="made-up", simulated=True, sweep="other"), 41)
    with open_warehouse(warehouse) as connection:
        text = leaderboard.render(leaderboard.read(connection))
        other = leaderboard.render(leaderboard.read(connection, sweep="other"))
    assert text.count("energy per output token") == 3
    assert "one trial" in text
    assert "produced by the simulator; not a measurement" in text
    assert "left out" not in text
    assert other.count("energy per output token") == 1


def test_an_engine_that_was_put_together_for_tests_is_called_that(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    cells(warehouse, [Spec(), Spec(quantization="q4_0", requirement_set="sglang-cpu-0.5.23")])
    cells(warehouse, [Spec(output_tokens=8, requirement_set="llamacpp-1.0")])
    with open_warehouse(warehouse) as connection:
        text = leaderboard.render(leaderboard.read(connection))
    assert text.count("its figures mean nothing") == 1
    assert text.index("its figures mean nothing") > text.index("q4_0")


def test_nothing_valid(tmp_path):
    with open_warehouse(tmp_path) as connection:
        assert leaderboard.render(leaderboard.read(connection)) == "no cell has a valid trial yet\n"


def test_compare_by_filter_and_by_id(shared):
    by_filter = compare(shared.connection, "model=tiny-moe", "quantization=q4_0, concurrency=2")
    by_id = compare(shared.connection, by_filter.a.cell[:8], by_filter.b.cell)
    assert by_filter == by_id
    assert by_filter.ratio == pytest.approx(by_filter.a.j_per_token / by_filter.b.j_per_token)
    low, high = by_filter.interval
    assert low < by_filter.ratio < high
    assert by_filter.distinguishable
    assert "not distinguishable" not in render(by_filter)
    swapped = compare(shared.connection, by_id.b.cell, by_id.a.cell)
    assert swapped.ratio == pytest.approx(1 / by_filter.ratio)
    assert swapped.p == pytest.approx(by_filter.p)


def board(device, node="node-a", watts=400.0, **more):
    meter = Meter("nvml", device, "gpu_board", "counter", poll_us=40_000, step_us=100_000)
    return Spec(devices=(device,), nodes=(node,), accelerator="H100", meters=(meter,), busy_w=watts, **more)


def test_a_sensor_s_gain_cancels_on_one_device_and_not_between_two(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    specs = [board("GPU-1"), board("GPU-1", watts=420.0, quantization="q4_0"), board("GPU-2", watts=420.0, model="m")]
    cells(warehouse, specs, repeats=3)
    with open_warehouse(warehouse) as connection:
        on_one = compare(connection, "quantization=q4_0", "model=tiny-dense,quantization=q8_0")
        on_two = compare(connection, "model=m", "model=tiny-dense,quantization=q8_0")
    assert on_one.ratio == pytest.approx(1.05, rel=1e-3) == on_two.ratio
    assert on_one.sensors.same_sensors
    # 5 W of 400 W and of 420 W differ by 0.06 %.
    assert on_one.sensors.factor == pytest.approx(1 + 5 / 400 - 5 / 420, abs=1e-4)
    assert on_one.sensors.could_make(on_one.ratio) is False
    assert "gain cancels" in render(on_one)
    assert not on_two.sensors.same_sensors
    assert on_two.sensors.factor == pytest.approx((1 + 0.05 + 5 / 400) / (1 - 0.05 - 5 / 420), rel=1e-2)
    assert on_two.sensors.could_make(on_two.ratio) is True
    assert "could make this difference" in render(on_two)


def test_sensors_of_unknown_quality_say_so(shared):
    found = compare(shared.connection, "model=tiny-moe", "quantization=q4_0, concurrency=2")
    assert found.sensors.factor is None
    assert found.sensors.could_make(found.ratio) is None


def test_what_cannot_be_told_apart_is_said_to_be_so(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    cells(warehouse, [Spec(), Spec(quantization="q4_0", busy_w=50.1)], repeats=3, spread=0.05)
    add_trial(warehouse, Spec(model="once", output_tokens=8), 40)
    with open_warehouse(warehouse) as connection:
        alike = compare(connection, "quantization=q4_0", "model=tiny-dense,quantization=q8_0")
        once = compare(connection, "model=once", "quantization=q4_0")
    assert not alike.distinguishable
    assert "not distinguishable" in render(alike)
    assert once.p is None
    assert "not distinguishable" in render(once)
    assert "different lengths" in render(once)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("quantisation=q4_0", "did you mean quantization"),
        ("model=tiny-dense", "matches 3 cells"),
        ("zzzz", "matches no cell with valid trials; there are"),
        ("model=nothing", "matches no cell with valid trials; there are"),
        ("model=", "matches no cell"),
        ("=x", "key=value"),
        ("", "matches 4 cells"),
    ],
)
def test_a_side_that_is_not_one_cell(shared, text, says):
    with pytest.raises(BadInput, match=says) as error:
        compare(shared.connection, text, "model=tiny-moe")
    assert "\n" not in str(error.value)


def test_no_common_fidelity(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    cells(warehouse, [Spec(), Spec(model="other", simulated=True)])
    with open_warehouse(warehouse) as connection, pytest.raises(BadInput, match="no boundary and fidelity in common"):
        compare(connection, "model=other", "model=tiny-dense")


def test_the_gate(shared):
    problems = [str(f) for f in check(shared.connection)]
    assert all("f16" in p for p in problems)
    assert any("0 valid trials of 2 planned" in p for p in problems)
    assert any("engine_died" in p for p in problems)
    assert any("requests_failed" in p for p in problems)
    cell = shared.truths[0].cell
    assert check(shared.connection, planned={cell: 2}) == []
    assert [f.problem for f in check(shared.connection, planned={cell: 3, "feed": 2})] == [
        "2 valid trials of 3 planned",
        "no trial yet of 2 planned",
    ]


def test_a_later_attempt_makes_good(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    spec = Spec(planned_repeats=1)
    add_trial(warehouse, replace(spec, outcome="failed", failure_class="node_lost"), 0)
    with open_warehouse(warehouse) as connection:
        assert len(check(connection)) == 2
    add_trial(warehouse, replace(spec, attempt=1), 1)
    with open_warehouse(warehouse) as connection:
        assert check(connection) == []


@pytest.mark.parametrize(
    ("thresholds", "missed"),
    [
        (Thresholds(max_j_per_token=1e9, min_tokens_per_joule=0, min_tokens_per_s=0, max_ttft_p99_ms=1e9), False),
        (Thresholds(max_itl_p99_ms=1e9, min_grade="quick", boundary="cpu"), False),
        (Thresholds(max_j_per_token=0.1), True),
        (Thresholds(min_tokens_per_joule=1e3), True),
        (Thresholds(min_tokens_per_s=1e6), True),
        (Thresholds(max_ttft_p99_ms=1), True),
        (Thresholds(max_itl_p99_ms=1), True),
        (Thresholds(min_grade="standard"), True),
        (Thresholds(boundary="node"), True),
    ],
)
def test_limits(shared, thresholds, missed):
    cell = shared.truths[0].cell
    assert bool(check(shared.connection, thresholds, planned={cell: 2})) is missed
