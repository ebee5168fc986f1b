"""Which meters, devices and methods give rows, and which of them a boundary is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from synthetic import Meter, Spec, add_trial

from joulemark.warehouse.build.readings import Series
from joulemark.warehouse.build.trial_energy import series_rows
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema.trial import Interval
from joulemark.warehouse.store.location import Warehouse

GPU_1 = Meter("nvml", "GPU-1", "gpu_board", "counter", poll_us=25_000, step_us=100_000)
GPU_2 = Meter("nvml", "GPU-2", "gpu_board", "counter", poll_us=25_000, step_us=100_000, share=2.0)
FOREIGN = Meter("nvml", "GPU-9", "gpu_board", "counter", share=5.0)
MEMORY = Meter("nvml", "GPU-1", "gpu_memory", "sampled", counter=False, share=0.2)
SOCKETS = tuple(Meter("rapl", f"package-{i}", "cpu_package", "counter", power=False, share=0.5) for i in (0, 1))
CORES = Meter("rapl", "package-0-core", "cpu_core", "counter", power=False, share=0.4)
PLATFORM = Meter("rapl", "psys", "platform", "counter", power=False, share=4.0)
PLUG = Meter("pdu", "plug-1", "node_ac", "metered", counter=False, poll_us=1_000_000, share=6.0)


def one(tmp_path, spec):
    warehouse = Warehouse.at(tmp_path)
    truth = add_trial(warehouse, spec, 0)
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        power = {r["boundary"]: r for r in connection.sql("from trial_power").to_pylist()}
        return (
            truth,
            power,
            connection.sql("from trial_energy").to_pylist(),
            connection.sql("from trial_results").to_pylist(),
        )


def gpus(*meters, **more):
    return Spec(devices=("GPU-1", "GPU-2"), accelerator="H100", meters=meters, **more)


def test_no_boundary_adds_scopes_that_contain_each_other_or_foreign_devices(tmp_path):
    spec = gpus(GPU_1, GPU_2, FOREIGN, MEMORY, *SOCKETS, CORES, PLATFORM, PLUG)
    truth, power, rows, _ = one(tmp_path, spec)
    assert {b: round(r["energy_j"] / truth.window_j, 6) for b, r in power.items()} == {
        "gpu": 3,
        "gpu+cpu": 4,
        "node": 6,
    }
    assert {b: r["components"] for b, r in power.items()} == {"gpu": 2, "gpu+cpu": 4, "node": 1}
    assert {b: r["fidelity"] for b, r in power.items()} == {"gpu": "counter", "gpu+cpu": "counter", "node": "metered"}
    assert "GPU-9" not in {r["device"] for r in rows}
    assert all(r["reasons"] == [] for r in power.values())


def test_idle_power_and_uncertainty(tmp_path):
    _, power, _, _ = one(tmp_path, gpus(GPU_1, GPU_2))
    gpu = power["gpu"]
    assert gpu["mean_w"] == pytest.approx(150)
    assert gpu["loaded_idle_w"] == pytest.approx(36)
    assert gpu["cold_idle_w"] == pytest.approx(24)
    assert gpu["peak_w"] == pytest.approx(150)
    # Polls and steps march in step here, so that a step is known to a poll and no better.
    edge = 0.025 / math.sqrt(12) * 50
    assert gpu["uncertainty_j"] == pytest.approx(1.96 * math.sqrt(2 * (edge**2 + (2 * edge) ** 2)), rel=1e-3)
    assert gpu["sensor_j"] == pytest.approx(0.05 * 1500 + 2 * 5 * 10)


def test_counter_and_integral_stand_side_by_side(tmp_path):
    truth, _, rows, _ = one(tmp_path, gpus(GPU_1, GPU_2))
    window = {(r["device"], r["method"]): r["energy_j"] for r in rows if r["interval"] == "window"}
    assert set(window) == {(d, m) for d in ("GPU-1", "GPU-2") for m in ("counter", "integral")}
    assert window["GPU-1", "counter"] == pytest.approx(truth.window_j, rel=1e-9)
    assert window["GPU-1", "integral"] == pytest.approx(truth.window_j, rel=1e-9)
    assert {r["interval"] for r in rows} == {"window", "cold_idle", "loaded_idle"}


def test_the_row_says_which_method_counts_and_how_far_they_are_apart(tmp_path):
    _, power, rows, results = one(tmp_path, gpus(GPU_1, GPU_2))
    window = {(r["device"], r["method"]): r for r in rows if r["interval"] == "window"}
    for (device, method), row in window.items():
        assert row["chosen"] == (method == "counter")
        other = window[device, "integral"]["energy_j"] / window[device, "counter"]["energy_j"] - 1
        assert row["disagreement"] == pytest.approx(other, abs=1e-12)
        assert row["uncertainty_j"] == pytest.approx(math.hypot(row["edge_j"], row["transient_j"], row["clock_j"]))
        assert (row["gain_fraction"], row["offset_w"]) == (0.05, 5.0)
    assert power["gpu"]["methods"] == results[0]["methods"] == ["counter"]
    assert results[0]["disagreement"] == power["gpu"]["disagreement"] is not None


def test_nodes_whose_clocks_are_not_known_state_no_uncertainty(tmp_path):
    _, power, rows, results = one(tmp_path, Spec(nodes=("node-a", "node-b")))
    assert power["cpu"]["energy_j"] is not None
    assert power["cpu"]["uncertainty_j"] is None
    assert {r["clock_j"] for r in rows if r["interval"] == "window"} == {None}
    assert {r["clock_j"] for r in rows if r["interval"] != "window"} == {0.0}, "each node's idle power is its own"
    assert "clock_uncertain" in results[0]["reasons"]


def test_power_alone_of_a_counting_device_is_sampled(tmp_path):
    _, power, _, _ = one(tmp_path, gpus(GPU_1, Meter("nvml", "GPU-2", "gpu_board", "counter", counter=False)))
    assert power["gpu"]["fidelity"] == "sampled"
    assert power["gpu"]["methods"] == ["counter", "integral"]


def test_a_device_without_readings_is_named_and_never_zero(tmp_path):
    _, power, rows, results = one(tmp_path, gpus(GPU_1))
    assert power["gpu"]["energy_j"] is None
    assert power["gpu"]["reasons"] == ["device_missing"]
    (missing,) = (r for r in rows if r["device"] == "GPU-2" and r["interval"] == "window")
    assert (missing["energy_j"], missing["samples"], missing["coverage"]) == (None, 0, 0)
    assert [(r["valid"], r["j_per_output_token"]) for r in results] == [(False, None)]


def test_no_meter_at_all(tmp_path):
    for name, spec in {"gpu": gpus(PLUG), "cpu": Spec(meters=(PLUG,))}.items():
        _, power, _, _ = one(tmp_path / name, spec)
        assert power[name]["energy_j"] is None
        assert power[name]["reasons"] == ["no_power"]
        assert power["node"]["energy_j"] is not None


def test_counter_that_disagrees_is_a_reason_unless_it_is_modelled(tmp_path):
    for fidelity, expected in (("counter", ["counter_disagrees"]), ("modelled", [])):
        spec = Spec(meters=(Meter("odd", "cpu", "cpu_package", fidelity),))
        warehouse = Warehouse.at(tmp_path / fidelity)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("synthetic.energy_uj", lambda spec, t, at: (1.1 * 50 * (t - at)).astype("int64"))
            add_trial(warehouse, spec, 0)
        with open_warehouse(warehouse) as connection:
            (row,) = connection.sql("from trial_power").to_pylist()
        assert row["reasons"] == expected


@pytest.mark.parametrize("read_until_us", [4_390_000, 30_000_000])
def test_what_disagrees_does_not_depend_on_how_long_was_read_after_the_window(read_until_us):
    """100 and 400 W in turn, a second each, with the last change 0.6 s before the window's end."""
    t_us = np.arange(-54_000_000, read_until_us, 38_146)
    turned_us = t_us - 3_400_000
    seconds, rest_us = np.divmod(turned_us, 1_000_000)
    high = seconds % 2 == 0
    power_mw = np.where(high, 400_000, 100_000)
    true_uj = (seconds // 2) * 500_000_000 + np.where(high, rest_us * 400, 400_000_000 + rest_us * 100)
    begun = np.flatnonzero(np.diff(t_us // 100_000, prepend=-(10**9)))
    energy_uj = np.repeat(true_uj[begun], np.diff([*begun, len(t_us)])) + 10**12
    yes = np.ones(len(t_us), dtype=np.bool_)
    series = Series("nvml", "GPU-1", "gpu_board", "counter", t_us, power_mw, yes, energy_uj, yes)
    rows = {r["method"]: r for r in series_rows(series, Interval(0, 4_000_000), 0.0, check=True)}
    assert rows["counter"]["energy_j"] == pytest.approx(1000, rel=0.01)
    assert rows["counter"]["reasons"] == rows["integral"]["reasons"] == []


def test_the_socket_that_is_measured_goes_before_the_model(tmp_path):
    truth, power, _, _ = one(tmp_path, Spec(meters=(Meter(share=3.0), *SOCKETS)))
    assert power["cpu"]["energy_j"] == pytest.approx(truth.window_j, rel=1e-6)
    assert (power["cpu"]["fidelity"], power["cpu"]["meters"]) == ("counter", ["rapl"])


def test_two_meters_of_one_device_are_not_added(tmp_path):
    dcgm = Meter("dcgm", "GPU-1", "gpu_board", "sampled", counter=False)
    truth, power, _, _ = one(tmp_path, gpus(GPU_1, GPU_2, dcgm))
    assert power["gpu"]["energy_j"] == pytest.approx(3 * truth.window_j, rel=1e-6)
    assert power["gpu"]["meters"] == ["nvml"]


def test_a_superchip_module_is_gpu_and_cpu(tmp_path):
    modules = [Meter("nvml", f"GPU-{i}", "gpu_module", "counter") for i in (1, 2)]
    truth, power, _, _ = one(tmp_path, gpus(*modules, *SOCKETS))
    assert set(power) == {"gpu+cpu"}
    assert power["gpu+cpu"]["energy_j"] == pytest.approx(2 * truth.window_j, rel=1e-6)


def test_a_boundary_that_one_node_lacks_is_not_there(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    truth = add_trial(warehouse, Spec(nodes=("node-a", "node-b"), meters=(Meter(), PLUG)), 0)
    name = next(n for n in warehouse.list("power") if "node-b" in n)
    add_trial(Warehouse.at(tmp_path / "other"), Spec(nodes=("node-b",)), 0)
    warehouse.write(name, Warehouse.at(tmp_path / "other").read(name))
    with open_warehouse(warehouse) as connection:
        power = {r["boundary"]: r for r in connection.sql("from trial_power").to_pylist()}
    assert set(power) == {"cpu"}
    assert power["cpu"]["energy_j"] == pytest.approx(2 * truth.window_j, rel=1e-6)


def test_the_simulator_is_never_anything_else(tmp_path):
    _, power, _, _ = one(tmp_path, Spec(simulated=True))
    assert power["cpu"]["fidelity"] == "simulated"


MADE_UP = Meter("simulated", "SIM-1", "gpu_board", "simulated", share=3.0)


def test_a_simulated_trial_has_nothing_of_the_node_it_ran_on(tmp_path):
    spec = Spec(simulated=True, accelerator="H100", devices=("SIM-1",), meters=(MADE_UP, *SOCKETS, PLUG))
    truth, power, rows, _ = one(tmp_path, spec)
    assert {(boundary, p["fidelity"]) for boundary, p in power.items()} == {("gpu", "simulated")}
    assert power["gpu"]["energy_j"] == pytest.approx(3 * truth.window_j, rel=1e-6)
    assert {r["meter"] for r in rows} == {"simulated"}


def test_a_real_trial_has_nothing_of_simulated_gpus(tmp_path):
    plain, beside = (
        one(tmp_path / name, gpus(GPU_1, GPU_2, *more))[1] for name, more in (("a", ()), ("b", (MADE_UP,)))
    )
    assert beside == plain


def test_reasons_beyond_the_device_do_not_speak_against_the_device(tmp_path):
    _, _, _, results = one(tmp_path, gpus(GPU_1, GPU_2, PLUG, reasons=("node_not_filled",)))
    assert {r["boundary"]: (r["valid"], r["reasons"]) for r in results} == {
        "gpu": (True, []),
        "node": (False, ["client_on_node", "node_not_filled"]),
    }


def test_a_one_second_mean_tells_of_its_middle():
    t_us = np.arange(0, 60_000_001, 100_000)
    # Power rises by 10 W a second; what the mean shows is half a second old.
    shown_mw = np.rint((100 + 10 * (t_us / 1e6 - 0.5)) * 1e3).astype(np.int64)
    there, nothing = np.ones(len(t_us), np.bool_), np.zeros(len(t_us), np.bool_)
    window = Interval(20_000_000, 40_000_000)
    truth_j = 20 * 100 + 10 * (40**2 - 20**2) / 2
    off = {}
    for meter in ("nvml-average", "another"):
        series = Series(meter, "GPU-0", "gpu_board", "sampled", t_us, shown_mw, there, np.zeros_like(t_us), nothing)
        (row,) = series_rows(series, window, 0.0, check=True)
        off[meter] = row["energy_j"] - truth_j
    assert off["nvml-average"] == pytest.approx(0, abs=truth_j * 1e-4)
    assert off["another"] == pytest.approx(-100, rel=0.01)


def test_what_engines_share_has_no_figure_and_says_why(tmp_path):
    _, power, _, results = one(tmp_path, gpus(GPU_1, GPU_2, PLUG, reasons=("node_shared",)))
    reasons = {r["boundary"]: (r["valid"], r["reasons"]) for r in results}
    assert reasons == {"gpu": (True, []), "node": (False, ["client_on_node", "node_shared"])}
    assert power["gpu"]["energy_j"] > 0
    assert (power["node"]["energy_j"], power["node"]["mean_w"]) == (None, None)


def test_a_modelled_engine_process_is_no_part_of_a_trial_on_gpus(tmp_path):
    model = Meter("cpu-model", "cpu", "cpu_process", "modelled")
    _, power, rows, _ = one(tmp_path, gpus(GPU_1, GPU_2, model))
    assert {r["meter"] for r in rows if r["energy_j"] is not None} == {"nvml"}
    assert power["gpu"]["energy_j"] is not None
    assert {name for name, p in power.items() if p["energy_j"] is not None} == {"gpu"}
