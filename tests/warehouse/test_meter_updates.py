"""What is known of how often a counter moves narrows what is stated of a counter that moves at every poll."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from synthetic import EPOCH_US, Meter, Spec, add_trial

from joulemark.agents.sampler.protocol import Timing
from joulemark.warehouse.build.energy import counter_energy
from joulemark.warehouse.build.meter_updates import MeterUpdates
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema.nodes import NODES
from joulemark.warehouse.store.layout import segment_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table

S = 1_000_000
RAPL = Meter("rapl", "package-0", "cpu_package", "counter", power=False, poll_us=38_197, step_us=1_000)


def register(seed, watts, update_us=1_000, seconds=12):
    """Return instants, counter, and the true energy by microsecond, of a register polled every 38 ms or so."""
    random = np.random.default_rng(seed)
    power_w = watts(random, seconds * S // update_us)
    true_uj = np.concatenate(([0.0], np.cumsum(power_w * update_us)))
    t_us = np.cumsum(random.normal(38_197, 200, (seconds - 1) * S // 38_197).astype(np.int64))
    return t_us, true_uj[t_us // update_us].astype(np.int64), true_uj


def steady(random, count):
    return 180 + random.normal(0, 20, count)


def wandering(random, count):
    return 180 + np.cumsum(random.normal(0, 0.5, count))


@pytest.mark.parametrize("watts", [steady, wandering])
def test_the_truth_is_still_covered_and_less_is_stated(watts):
    covered, widths = [], []
    for seed in range(300):
        t_us, energy_uj, true_uj = register(seed, watts)
        start_us, end_us = 3 * S + 1_234 * (seed % 30), 8 * S + 777 * (seed % 40)
        true_j = (true_uj[end_us // 1_000] - true_uj[start_us // 1_000]) / 1e6
        known, unknown = (
            counter_energy(t_us, energy_uj, start_us, end_us, update_us=update_us) for update_us in (1_000, None)
        )
        assert known.energy_j == unknown.energy_j
        covered.append(abs(known.energy_j - true_j) <= known.uncertainty_j)
        widths.append(known.uncertainty_j / unknown.uncertainty_j)
    assert 0.93 <= np.mean(covered) <= 1
    assert np.median(widths) < 0.25


def test_a_counter_that_is_polled_faster_than_it_moves_is_as_it_was():
    t_us = np.arange(0, 12 * S, 38_197, dtype=np.int64)
    energy_uj = t_us // 100_000 * 100_000 * 180
    one, other = (counter_energy(t_us, energy_uj, 3 * S, 8 * S, update_us=u) for u in (100_000, None))
    assert one == other


def add_node(warehouse, node, t_us, meters):
    row = dict.fromkeys(c.name for c in NODES.columns if c.nullable) | {
        "node": node,
        "boot": f"b{t_us}",
        "t": t_us,
        "logical_cpus": 2,
        "memory_bytes": 1,
        "accelerators": [],
        "devices": [],
        "versions": "{}",
        "meters": json.dumps(meters),
    }
    table = pa.Table.from_pylist([row], schema=NODES.arrow)
    write_table(warehouse, NODES, segment_file("nodes", node, row["boot"]), table)


def described(energy_s):
    return {"timing": msgspec.to_builtins(Timing(0.04, energy_s=energy_s)), "source": "test"}


def test_the_measurement_of_the_node_nearest_in_time_counts(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    add_node(warehouse, "a", 100, {"rapl": described({"cpu_package": 0.001, "dram": 0.002}), "odd": {"timing": None}})
    add_node(warehouse, "a", 900, {"rapl": described({"cpu_package": 0.004})})
    add_node(warehouse, "b", 100, {"rapl": {}})
    updates = MeterUpdates.read(
        warehouse, tuple(sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("b*.parquet")))
    )
    assert updates.warnings == ()
    asked = [("a", "cpu_package", 50), ("a", "cpu_package", 1000), ("a", "dram", 200), ("a", "dram", 1000)]
    assert [updates.energy_us(n, "rapl", s, t) for n, s, t in asked] == [1_000, 4_000, 2_000, None]
    assert updates.energy_us("b", "rapl", "cpu_package", 100) is None
    assert updates.energy_us("c", "rapl", "cpu_package", 100) is None


def test_a_node_whose_meters_cannot_be_read_is_named(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    add_node(warehouse, "a", 100, {"rapl": {"timing": "odd"}})
    updates = MeterUpdates.read(warehouse, ("nodes/a/b100.parquet", "nodes/a/gone.parquet"))
    assert len(updates.warnings) == 2
    assert updates.energy_us("a", "rapl", "cpu_package", 100) is None


def test_a_trial_s_energy_is_stated_by_what_its_node_measured(tmp_path):
    edges_j = []
    for known in (False, True):
        warehouse = Warehouse.at(tmp_path / str(known))
        add_trial(warehouse, Spec(meters=(RAPL,)), 0)
        if known:
            add_node(warehouse, "node-a", EPOCH_US, {"rapl": described({"cpu_package": 0.001})})
        with open_warehouse(warehouse) as connection:
            assert connection.warnings == ()
            (row,) = connection.sql("from trial_energy where \"interval\" = 'window'").to_pylist()
        edges_j.append(row["edge_j"])
    assert edges_j[1] < 0.2 * edges_j[0]
