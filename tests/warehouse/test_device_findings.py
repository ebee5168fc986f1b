"""What the devices' own facts say against a trial, on synthetic rows."""

import pyarrow as pa
import pytest
from synthetic import EPOCH_US, WINDOW_S, Meter, S, Spec, add_trial

from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.store.layout import segment_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table

STATE = DATASETS["device_state"]
METERS = tuple(Meter("nvml", f"GPU-{i}", "gpu_board", "counter", poll_us=25_000, step_us=100_000) for i in (1, 2))
FINE = {"throttle_reasons": 0, "foreign_processes": 0, "power_limit_mw": 700_000}


def state(warehouse, changes, node="node-a"):
    """Write 40 s of rows for two GPUs; ``changes`` maps (device, second) to what differs from FINE."""
    empty = dict.fromkeys(c.name for c in STATE.columns)
    rows = [
        empty
        | {"node": node, "device": device, "t": EPOCH_US + second * S + 250_000}
        | FINE
        | changes.get((device, second), {})
        for device in ("GPU-1", "GPU-2", "GPU-9")
        for second in range(40)
    ]
    table = pa.Table.from_pylist(rows, schema=STATE.arrow)
    write_table(warehouse, STATE, segment_file(STATE.name, node, "000000"), table)


def findings(folder, changes, limit=None, **more):
    warehouse = Warehouse.at(folder)
    spec = Spec(devices=("GPU-1", "GPU-2"), accelerator="H100", meters=METERS, power_limit_w=limit, **more)
    add_trial(warehouse, spec, 0)
    state(warehouse, changes)
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        (result,) = connection.sql("from trial_results").to_pylist()
        return connection.sql("from device_findings order by device").to_pylist(), result


INSIDE, BEFORE, AFTER = WINDOW_S[0] + 3, WINDOW_S[0] - 2, WINDOW_S[1] + 2
EVERYTHING = {"throttle_reasons": 0x60, "foreign_processes": 3, "power_limit_mw": 300_000}


def test_a_quiet_window_has_no_findings_whatever_happens_around_it(tmp_path):
    around = {("GPU-1", s): EVERYTHING for s in (0, BEFORE, AFTER)} | {("GPU-9", INSIDE): EVERYTHING}
    found, result = findings(tmp_path, around, limit=700)
    assert found == []
    assert (result["valid"], result["reasons"]) == (True, [])


@pytest.mark.parametrize("bits", [0x20, 0x40, 0x20 | 0x4])
def test_heat_inside_the_window_counts(tmp_path, bits):
    hot = {("GPU-2", s): {"throttle_reasons": bits} for s in range(INSIDE, INSIDE + 4)}
    (found,), result = findings(tmp_path, hot)
    assert (found["device"], found["throttled_readings"], found["foreign_readings"]) == ("GPU-2", 4, 0)
    assert found["reasons"] == result["reasons"] == ["throttled_thermal"]
    assert not result["valid"]


@pytest.mark.parametrize("bits", [0x1, 0x4, 0x8, 0x80, None])
def test_idle_power_cap_and_brake_are_not_heat(tmp_path, bits):
    found, result = findings(tmp_path, {("GPU-1", INSIDE): {"throttle_reasons": bits}})
    assert (found, result["reasons"]) == ([], [])


def test_someone_elses_process_counts_and_an_unknown_number_does_not(tmp_path):
    found, result = findings(
        tmp_path, {("GPU-1", INSIDE): {"foreign_processes": 1}, ("GPU-2", INSIDE): {"foreign_processes": None}}
    )
    assert [(f["device"], f["foreign_readings"]) for f in found] == [("GPU-1", 1)]
    assert result["reasons"] == ["foreign_process"]


def test_another_power_limit_than_asked_is_a_mismatch(tmp_path):
    changes = {("GPU-1", INSIDE): {"power_limit_mw": 500_000}}
    found, result = findings(tmp_path / "asked", changes, limit=700)
    assert found[0]["limit_readings"] == 1
    assert result["reasons"] == ["config_mismatch"]
    found, result = findings(tmp_path / "not asked", changes)
    assert (found, result["reasons"]) == ([], [])


def test_reasons_of_several_devices_are_each_named_once(tmp_path):
    both = {(d, INSIDE): EVERYTHING for d in ("GPU-1", "GPU-2")}
    found, result = findings(tmp_path, both, limit=700)
    assert len(found) == 2
    assert result["reasons"] == ["config_mismatch", "foreign_process", "throttled_thermal"]


def test_another_nodes_device_of_the_same_name_is_not_meant(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    add_trial(warehouse, Spec(devices=("GPU-1", "GPU-2"), accelerator="H100", meters=METERS), 0)
    state(warehouse, {("GPU-1", INSIDE): EVERYTHING}, node="node-b")
    with open_warehouse(warehouse) as connection:
        assert connection.sql("from device_findings").num_rows == 0


def test_facts_that_come_later_reach_the_statistics(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    add_trial(warehouse, Spec(devices=("GPU-1", "GPU-2"), accelerator="H100", meters=METERS), 0)
    with open_warehouse(warehouse) as connection:
        assert connection.sql("from leaderboard").num_rows == 1
    state(warehouse, {("GPU-1", INSIDE): EVERYTHING})
    with open_warehouse(warehouse) as connection:
        assert connection.sql("from leaderboard").num_rows == 0
