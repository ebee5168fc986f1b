"""The whole node: its row, what else is in its number, and which of several meters counts."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import EPOCH_US, Meter, Spec, add_trial

from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.store.layout import segment_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table

BOARDS = tuple(Meter("nvml", f"GPU-{i}", "gpu_board", "counter") for i in (1, 2))
SOCKET = Meter("rapl", "package-0", "cpu_package", "counter", power=False, share=0.5)
BMC = Meter("bmc", "node-a", "node_ac", "metered", counter=False, poll_us=1_000_000, share=6.0)


def gpus(*more):
    return Spec(devices=("GPU-1", "GPU-2"), accelerator="H100", meters=(*BOARDS, *more))


def results(tmp_path, spec, *, gpus_of_node=None, client=None, apart=None):
    warehouse = Warehouse.at(tmp_path)
    truth = add_trial(warehouse, spec, 0)
    if gpus_of_node is not None:
        row = {
            "node": "node-a",
            "boot": "boot-node-a",
            "t": EPOCH_US,
            "logical_cpus": 8,
            "memory_bytes": 1,
            "accelerators": ["H100"] * gpus_of_node,
            "devices": [f"GPU-{i}" for i in range(1, gpus_of_node + 1)],
            "meters": "{}",
            "versions": "{}",
        }
        table = pa.Table.from_pylist([row], schema=DATASETS["nodes"].arrow)
        write_table(warehouse, DATASETS["nodes"], segment_file("nodes", "node-a", "boot-node-a"), table)
    if client is not None:
        path = warehouse.path(f"requests/{truth.trial}.parquet")
        rows = [r | {"node": client} for r in pq.read_table(path).to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, schema=DATASETS["requests"].arrow), path)
    if apart is not None:
        path = tmp_path / "trials" / f"{truth.trial}.json"
        manifest = json.loads(path.read_text())
        health = {"lag_p99_us": 0, "cpu_fraction": 0.1, "completed": 1, "failed": 0}
        manifest["client"] = {"in_flight_fraction": 1.0, "median_request_us": None, **health, "apart": apart}
        path.write_text(json.dumps(manifest))
    with open_warehouse(warehouse) as connection:
        rows = {r["boundary"]: r for r in connection.sql("from trial_results").to_pylist()}
        power = {r["boundary"]: r for r in connection.sql("from trial_power").to_pylist()}
    return truth, rows, power


def test_a_meter_of_the_node_gives_a_row_of_the_node(tmp_path):
    truth, rows, power = results(tmp_path, gpus(BMC), gpus_of_node=2, client="elsewhere")
    assert set(rows) == {"gpu", "node"}
    assert rows["node"]["energy_j"] == pytest.approx(6 * truth.window_j)
    assert rows["node"]["fidelity"] == "metered"
    assert power["node"]["meters"] == ["bmc"]
    assert rows["node"]["reasons"] == rows["gpu"]["reasons"] == ["clock_uncertain"]


@pytest.mark.parametrize(("gpus_of_node", "idle"), [(8, True), (2, False), (None, False)])
def test_idle_gpus_are_in_the_number_of_the_node_only(tmp_path, gpus_of_node, idle):
    _, rows, _ = results(tmp_path, gpus(BMC, SOCKET), gpus_of_node=gpus_of_node)
    assert ("node_not_filled" in rows["node"]["reasons"]) is idle
    assert "node_not_filled" not in rows["gpu"]["reasons"] + rows["gpu+cpu"]["reasons"]


def test_gpus_beside_a_trial_on_the_cpu_are_idle_too(tmp_path):
    _, rows, _ = results(tmp_path, Spec(meters=(Meter(), BMC)), gpus_of_node=1)
    assert rows["cpu"]["reasons"] == []
    assert rows["node"]["reasons"] == ["client_on_node", "node_not_filled"]


def test_the_clients_energy_is_in_every_number_that_holds_the_sockets_of_its_node(tmp_path):
    _, rows, _ = results(tmp_path / "here", gpus(BMC, SOCKET), gpus_of_node=2)
    assert {b: r["reasons"] for b, r in rows.items()} == {
        "gpu": [],
        "gpu+cpu": ["client_on_node"],
        "node": ["client_on_node"],
    }
    _, rows, _ = results(tmp_path / "there", gpus(BMC, SOCKET), gpus_of_node=2, client="elsewhere")
    assert not any("client_on_node" in r["reasons"] for r in rows.values())


def test_a_client_apart_that_kept_the_engines_clock_makes_the_whole_node_valid(tmp_path):
    apart = {"node": "elsewhere", "shift_us": 3_000_000, "clock_us": 2_000}
    _, beside, _ = results(tmp_path / "beside", gpus(BMC), gpus_of_node=2)
    truth, rows, _ = results(tmp_path / "apart", gpus(BMC), gpus_of_node=2, client="elsewhere", apart=apart)
    assert {b: r["reasons"] for b, r in rows.items()} == {"gpu": [], "node": []}
    assert all(r["valid"] for r in rows.values())
    assert rows["gpu"]["output_tokens"] == beside["gpu"]["output_tokens"] == truth.output_tokens


@pytest.mark.parametrize("clock_us", [None, 30_000])
def test_a_client_whose_clock_is_not_known_well_enough_counts_for_nothing(tmp_path, clock_us):
    apart = {"node": "elsewhere", "shift_us": 0, "clock_us": clock_us}
    _, rows, _ = results(tmp_path, gpus(BMC), gpus_of_node=2, client="elsewhere", apart=apart)
    assert {b: r["reasons"] for b, r in rows.items()} == {"gpu": ["clock_uncertain"], "node": ["clock_uncertain"]}


def test_a_meter_that_was_down_does_not_take_the_place_of_one_that_was_not(tmp_path):
    down = [Meter("dcgm", f"GPU-{i}", "gpu_board", "counter", power=False, counter=False) for i in (1, 2)]
    half = [Meter("aaa", "feed-a", "node_ac", "metered", power=False, counter=False), Meter("aaa", "feed-b", "node_ac")]
    truth, rows, power = results(tmp_path, gpus(BMC, *down, *half))
    assert rows["gpu"]["energy_j"] == pytest.approx(2 * truth.window_j)
    assert (power["gpu"]["meters"], power["node"]["meters"]) == (["nvml"], ["bmc"])


def test_a_node_whose_only_meter_was_down_says_so(tmp_path):
    down = Meter("bmc", "node-a", "node_ac", "metered", power=False, counter=False)
    _, rows, _ = results(tmp_path, gpus(down), gpus_of_node=2)
    assert rows["gpu"]["valid"]
    assert (rows["node"]["energy_j"], rows["node"]["valid"]) == (None, False)
    assert "no_power" in rows["node"]["reasons"]


def test_of_two_meters_the_one_that_knows_the_edges_better_counts(tmp_path):
    slow = [Meter("dcgm", f"GPU-{i}", "gpu_board", "counter", 1_000_000, 1_000_000) for i in (1, 2)]
    _, _, power = results(tmp_path, gpus(*slow))
    assert power["gpu"]["meters"] == ["nvml"]
