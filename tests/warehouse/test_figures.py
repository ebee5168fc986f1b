"""Figures beyond energy per token, against what their inputs give by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from synthetic import EPOCH_US, TRIAL_US, WINDOW_S, Meter, S, Spec, add_trial, cells

from joulemark.warehouse.build.curve import Curve
from joulemark.warehouse.build.drift import drift
from joulemark.warehouse.build.node_differences import node_difference
from joulemark.warehouse.build.power_shape import power_shape
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table

GPU = "GPU-1"
ON_GPU = {
    "accelerator": "H100",
    "devices": (GPU,),
    "meters": (Meter("nvml", GPU, "gpu_board", "counter", 40_000, 100_000),),
}


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse.at(tmp_path / "w")


def quality(warehouse, *scores):
    rows = [
        {"model": m, "quantization": q, "kv_type": "f16", "task": "sums", "score": s, "samples": 100, "source": "test"}
        for m, q, s in scores
    ]
    names = DATASETS["quality"].arrow.names
    rows = [{n: r.get(n) for n in names} for r in rows]
    table = pa.Table.from_pylist(rows, schema=DATASETS["quality"].arrow)
    write_table(warehouse, DATASETS["quality"], "quality/test.parquet", table)


def state(warehouse, trial, number, **columns):
    """Ten readings of a GPU's own facts, one a second, in the window of the trial with this number."""
    begin_us = EPOCH_US + number * TRIAL_US + WINDOW_S[0] * S
    names = DATASETS["device_state"].arrow.names
    rows = [
        {n: columns.get(n) for n in names} | {"node": "node-a", "device": GPU, "t": begin_us + i * S + 1}
        for i in range(10)
    ]
    table = pa.Table.from_pylist(rows, schema=DATASETS["device_state"].arrow)
    write_table(warehouse, DATASETS["device_state"], f"device_state/node-a/{trial}.parquet", table)


def engine(warehouse, trial, number, **columns):
    begin_us = EPOCH_US + number * TRIAL_US + WINDOW_S[0] * S
    names = DATASETS["engine_state"].arrow.names
    rows = [
        {n: columns.get(n) for n in names} | {"trial": trial, "node": "node-a", "t": begin_us + i * S + 1}
        for i in range(10)
    ]
    table = pa.Table.from_pylist(rows, schema=DATASETS["engine_state"].arrow)
    write_table(warehouse, DATASETS["engine_state"], f"engine_state/{trial}.parquet", table)


def test_levers_are_pairs_that_differ_in_one_factor_alone(warehouse):
    specs = [
        Spec(quantization=q, concurrency=c, busy_w=w * (0.8 if q == "q4_0" else 1.0))
        for q in ("q8_0", "q4_0")
        for c, w in ((2, 50.0), (4, 60.0))
    ]
    cells(warehouse, [*specs, Spec(model="tiny-moe", concurrency=8)], repeats=3, spread=0.001)
    with open_warehouse(warehouse) as connection:
        pairs = connection.sql("from lever_effects").to_pylist()
        found = {(r["lever"], r["value_a"], r["value_b"]): r for r in connection.sql("from lever_summary").to_pylist()}
        by_cell = {r["cell"]: r["j_per_output_token"] for r in connection.sql("from cell_results").to_pylist()}
    assert sorted(found) == [("quantization", "q4_0", "q8_0"), ("workload.concurrency", "2", "4")]
    precision = found["quantization", "q4_0", "q8_0"]
    assert (precision["pairs"], precision["pairs_higher"], precision["pairs_lower"]) == (2, 2, 0)
    assert precision["ratio"] == pytest.approx(1 / 0.8, rel=0.01)
    for pair in pairs:
        assert pair["ratio"] == pytest.approx(by_cell[pair["cell_b"]] / by_cell[pair["cell_a"]])
        assert pair["ratio_low"] < pair["ratio"] < pair["ratio_high"]


def test_a_declared_pair_of_models_is_a_lever_too(warehouse):
    cells(warehouse, [Spec(), Spec(model="tiny-moe", busy_w=25.0)], repeats=2, spread=0.001)
    with open_warehouse(warehouse) as connection:
        (pair,) = connection.sql("from lever_summary where lever = 'model'").to_pylist()
    assert (pair["value_a"], pair["value_b"]) == ("tiny-dense", "tiny-moe")
    assert pair["ratio"] == pytest.approx(0.5, rel=0.01)


def test_nodes_that_differ_by_more_than_chance_are_told_from_those_that_do_not(warehouse):
    number = 0
    for node, watts in (("node-a", 50.0), ("node-b", 60.0)):
        for repeat in range(3):
            spec = Spec(nodes=(node,), repeat=repeat, busy_w=watts + 0.1 * repeat)
            add_trial(warehouse, spec, number)
            number += 1
    with open_warehouse(warehouse) as connection:
        (found,) = connection.sql("from node_differences").to_pylist()
        nodes = {r["nodes"][0]: r for r in connection.sql("from node_results").to_pylist()}
    assert found["node_sets"] == 2
    assert found["highest_to_lowest"] == pytest.approx(1.2, rel=0.01)
    assert found["p"] < 1e-4
    # The CPU model has no bound of its gain.
    assert found["beyond_sensors"] is None
    assert nodes["node-b"]["to_cell"] == pytest.approx(1.2**0.5, rel=0.01)
    assert nodes["node-a"]["trials"] == 3


def test_chance_alone_is_rarely_taken_for_a_difference_of_nodes():
    random = np.random.default_rng(3)

    def trials(node_spread, start_spread):
        return [
            {"nodes": [f"n{n}"], "start": s, "j": float(np.exp(node + start + random.normal(0, 0.01))), "sensor": 0.05}
            for n in range(4)
            for node in [random.normal(0, node_spread)]
            for s in range(3)
            for start in [random.normal(0, start_spread)]
            for _ in range(3)
        ]

    chance = [node_difference(trials(0, 0.03))["p"] < 0.05 for _ in range(600)]
    real = [node_difference(trials(0.2, 0.03))["p"] < 0.05 for _ in range(100)]
    assert 0.02 <= np.mean(chance) <= 0.08
    assert np.mean(real) > 0.9


def test_a_difference_that_the_sensors_could_make_says_so():
    def trials(ratio):
        return [
            {"nodes": [n], "start": 0, "j": j * f, "sensor": 0.05}
            for n, j in (("a", 1.0), ("b", ratio))
            for f in (0.999, 1.001)
        ]

    assert node_difference(trials(1.08))["beyond_sensors"] is False
    assert node_difference(trials(1.12))["beyond_sensors"] is True
    assert node_difference([t for t in trials(1.1) if t["nodes"] == ["a"]]) is None


def test_power_is_spread_over_time_and_idle_is_a_share_of_it(shared):
    rows = shared.connection.sql("from power_shape").to_pylist()
    assert rows
    for row in rows:
        # Power is constant in the made-up windows.
        assert row["p50_w"] == pytest.approx(row["p99_w"])
        assert row["p99_w"] == pytest.approx(row["mean_w"], rel=1e-3)
        assert row["burst_share"] == 0
        assert row["idle_tax"] == pytest.approx(row["loaded_idle_w"] / row["mean_w"])


def test_the_shape_of_a_square_wave():
    t_us = np.arange(0, 20_000_001, 100_000)
    # 400 W for a quarter of each second, else 100 W.
    watts = np.where(np.arange(len(t_us) - 1) % 10 < 2.5, 400.0, 100.0)
    curve = Curve(t_us, np.concatenate(([0.0], np.cumsum(watts * 0.1))))
    shape = power_shape(curve, 5_000_000, 15_000_000)
    assert (shape.p50_w, shape.p90_w, shape.p99_w) == (100, 400, 400)
    assert shape.burst_share == pytest.approx(0.3)
    assert power_shape(curve, 5_010_000, 5_090_000) is None


def test_drift_over_a_sweep_is_found_whatever_the_cells(warehouse):
    number = 0
    for repeat in range(6):
        for specs in ({"busy_w": 50.0}, {"busy_w": 30.0, "quantization": "q4_0"}):
            watts = specs["busy_w"] * 1.01**number * (1.001 if number % 3 else 0.999)
            add_trial(warehouse, Spec(**(specs | {"busy_w": watts}), repeat=repeat), number)
            number += 1
    with open_warehouse(warehouse) as connection:
        (found,) = connection.sql("from sweep_drift").to_pylist()
    trials_an_hour = 3600e6 / TRIAL_US
    assert found["trials"] == 12
    assert found["change_per_hour"] == pytest.approx(1.01**trials_an_hour - 1, rel=0.1)
    assert found["change_per_hour_low"] < 1.01**trials_an_hour - 1 < found["change_per_hour_high"]
    assert found["p"] < 1e-6


def test_a_sweep_of_seconds_has_no_bound_that_is_no_number():
    trials = [{"cell": "c", "nodes": ["n"], "j": 1 + i % 3, "started_s": i / 10} for i in range(3)]
    found = drift(trials)
    assert found["change_per_hour_high"] is None
    assert found["change_per_hour_low"] == pytest.approx(-1)
    assert 0 < found["p"] < 1


def test_a_sweep_of_seconds_is_stored_without_that_bound(warehouse, monkeypatch):
    monkeypatch.setattr("joulemark.warehouse.build.drift.LARGEST_LOG", 1e-12)
    for number in range(3):
        add_trial(warehouse, Spec(busy_w=50.0 + number % 2, repeat=number), number)
    with open_warehouse(warehouse) as connection:
        (found,) = connection.sql("from sweep_drift").to_pylist()
    assert found["change_per_hour_high"] is None
    assert found["p"] > 0


def test_without_drift_the_test_errs_in_one_of_twenty():
    random = np.random.default_rng(7)

    def trials():
        return [
            {"cell": c, "nodes": ["n"], "j": float(np.exp(c + random.normal(0, 0.02))), "started_s": 60.0 * (4 * r + c)}
            for c in range(4)
            for r in range(3)
        ]

    assert 0.03 <= np.mean([drift(trials())["p"] < 0.05 for _ in range(1_000)]) <= 0.07
    assert drift(trials()[:1]) is None


def test_outliers_are_shown_and_kept(warehouse):
    for repeat in range(5):
        watts = 50.0 + 0.05 * repeat if repeat < 4 else 60.0
        add_trial(warehouse, Spec(repeat=repeat, busy_w=watts), repeat)
    with open_warehouse(warehouse) as connection:
        rows = {r["j_per_output_token"]: r for r in connection.sql("from trial_outliers").to_pylist()}
        (cell,) = connection.sql("from cell_results").to_pylist()
    assert [rows[j]["outlier"] for j in sorted(rows)] == [False] * 4 + [True]
    assert cell["trials_valid"] == 5


def test_the_smallest_adequate_model_is_the_one_with_the_fewest_joules_above_the_floor(warehouse):
    cells(warehouse, [Spec(), Spec(quantization="q4_0", busy_w=40.0), Spec(model="tiny-moe", busy_w=20.0)])
    quality(warehouse, ("tiny-dense", "q8_0", 0.70), ("tiny-dense", "q4_0", 0.66), ("tiny-moe", "q8_0", 0.40))
    with open_warehouse(warehouse) as connection:
        (best,) = connection.sql("from smallest_adequate('sums', 0.6)").to_pylist()
        (none,) = connection.sql("from smallest_adequate('sums', 0.9)").to_pylist()
        responses = {
            (r["model"], r["attempts"]): r
            for r in connection.sql("from response_energy(150, 'sums', 150, 0.01)").to_pylist()
        }
    assert (best["model"], best["quantization"], best["score"]) == ("tiny-dense", "q4_0", 0.66)
    assert (best["candidates"], best["below_floor"]) == (2, 1)
    assert (none["cell"], none["candidates"]) == (None, 0)
    row = responses["tiny-moe", 1 / 0.4]
    assert row["attempts_from"] == "quality"
    assert row["j_per_response"] == pytest.approx(150 / 0.4 * row["j_per_token"] + 150 * 0.01)


def test_a_response_s_cost_has_attempts_from_scores_or_from_the_limits_on_latency(warehouse):
    cells(warehouse, [Spec(**ON_GPU), Spec(**ON_GPU, quantization="q4_0"), Spec(**ON_GPU, model="m", sweep="slow")])
    quality(warehouse, ("tiny-dense", "q8_0", 0.5))
    # Every request of the sweep has its first token after 0.2 s: none is within 0.1 s, all are within 0.3 s.
    warehouse.write("sweeps/made-up/slo.json", b'{"ttft_p99": 0.3}')
    warehouse.write("sweeps/slow/slo.json", b'{"ttft_p99": 0.1}')
    with open_warehouse(warehouse) as connection:
        found = connection.sql("""
            from response_cost(150, 'sums', 100, 0.002, 3.6, 0.1, 1.5, false) c
            join cell_results r on r.cell = c.cell
            select c.*, r.model, r.quantization, r.output_tokens_per_s as rate, r.j_per_output_token as j, r.devices
        """).to_pylist()
    rows = {(r["model"], r["quantization"]): r for r in found}
    assert {k: (r["attempts"], r["attempts_from"]) for k, r in rows.items()} == {
        ("tiny-dense", "q8_0"): (2.0, "quality"),
        ("tiny-dense", "q4_0"): (1.0, "slo"),
        ("m", "q8_0"): (None, "slo"),
    }
    row = rows["tiny-dense", "q8_0"]
    assert row["gpu_cost"] == pytest.approx(150 * 2 * row["devices"] / row["rate"] / 3600 * 3.6)
    assert row["electricity_cost"] == pytest.approx(150 * 2 * row["j"] / 3.6e6 * 1.5 * 0.1)
    assert row["other_cost"] == pytest.approx(0.2)
    whole = row["gpu_cost"] + row["electricity_cost"] + row["other_cost"]
    assert row["cost_per_response"] == pytest.approx(whole)
    assert rows["m", "q8_0"]["cost_per_response"] is None


def test_grid_power_is_measured_at_the_node_and_modelled_from_devices(warehouse):
    cells(warehouse, [Spec(**ON_GPU, busy_w=400.0)])
    with open_warehouse(warehouse, read_only_user=False) as connection:
        (cell,) = connection.sql("from cell_results").to_pylist()
        (modelled,) = connection.sql("from facility_power(1.2, 100, 0.8)").to_pylist()
        connection.duckdb.register("as_node", connection.sql("select * replace ('node' as boundary) from cell_results"))
        connection.duckdb.execute("create or replace view cell_results as from as_node")
        (measured,) = connection.sql("from facility_power(1.2, 100, 0.8)").to_pylist()
    assert (modelled["ac_power"], measured["ac_power"]) == ("modelled", "measured")
    assert modelled["ac_w"] == pytest.approx((cell["mean_w"] + 100) / 0.8)
    assert modelled["facility_w"] == pytest.approx(modelled["ac_w"] * 1.2)
    assert measured["facility_w"] == pytest.approx(cell["mean_w"] * 1.2)
    assert measured["tokens_per_kwh"] == pytest.approx(cell["output_tokens_per_s"] / (cell["mean_w"] * 1.2) * 3.6e6)


def test_the_article_s_own_example_of_a_meaningful_response(shared):
    (row,) = shared.connection.sql("select cost_per_response(150, 1.2, 0.00015, 150, 0.000002) as cost").to_pylist()
    assert row["cost"] == pytest.approx(0.0273)


def test_the_token_production_function_names_the_side_that_binds(warehouse):
    cells(warehouse, [Spec(**ON_GPU, busy_w=500.0, loaded_w=100.0)], repeats=2)
    with open_warehouse(warehouse) as connection:
        (cell,) = connection.sql("from cell_results").to_pylist()
        (plenty,) = connection.sql("from token_production(1e12, 1e12, 1.25, 0.5)").to_pylist()
        (power,) = connection.sql("from token_production(1000, 800, 1.25, 0.5)").to_pylist()
        (site,) = connection.sql("from facility(100000, 50000, 1.25, 0.5)").to_pylist()
        (compute,) = connection.sql("from cell_compute").to_pylist()
    rate = cell["output_tokens_per_s"]
    e_tok = (0.5 * cell["mean_w"] + 0.5 * cell["loaded_idle_w"]) / (0.5 * rate)
    assert power["j_per_output_token"] == pytest.approx(e_tok)
    assert power["energy_cap_tokens_per_s"] == pytest.approx(800 / (1.25 * e_tok))
    # The made-up trial knows no shape of its model, so the compute side is not known, and nothing is said to bind.
    assert compute["compute_cap_tokens_per_s"] is None
    assert (power["binding"], plenty["binding"]) == ("unknown", "unknown")
    each_w = 0.5 * cell["mean_w"] + 0.5 * cell["loaded_idle_w"]
    assert site["deployments"] == int(50000 // (1.25 * each_w))
    assert site["binding"] == "cooling"
    assert site["tokens_per_day"] == pytest.approx(site["deployments"] * 0.5 * rate * 86400)


def test_owned_hardware_pays_for_its_idle_hours(warehouse):
    cells(warehouse, [Spec(**ON_GPU, busy_w=500.0, loaded_w=100.0)], repeats=2)
    with open_warehouse(warehouse) as connection:
        (cell,) = connection.sql("from cell_results").to_pylist()
        (owned,) = connection.sql("from cost_owned(35064, 4, 0.5, 0.1, 1.2)").to_pylist()
    # 35064 over 4 years of 8766 hours, half of them busy.
    assert owned["hour_of_device"] == pytest.approx(2.0)
    hours = 1e6 / cell["output_tokens_per_s"] / 3600
    busy_and_idle_kwh = hours * (cell["mean_w"] + cell["loaded_idle_w"]) / 1e3
    assert owned["capital_cost_per_million"] == pytest.approx(2.0 * hours)
    assert owned["electricity_cost_per_million"] == pytest.approx(busy_and_idle_kwh * 1.2 * 0.1)


def test_the_compute_side_counts_operations_of_answers_and_their_prompts(warehouse):
    shape = {"tied_embeddings": False, "embedding_params": 800_000, "attention_width": 512, "layers": 4}
    cells(warehouse, [Spec(**ON_GPU, quantization="fp8", facts=shape)], repeats=2)
    with open_warehouse(warehouse) as connection:
        (compute,) = connection.sql("from cell_compute").to_pylist()
        tokens = connection.sql("from trial_tokens").to_pylist()
        (tight,) = connection.sql("from token_production(1, 1, 1.25, 1)").to_pylist()
        (loose,) = connection.sql("from token_production(1e12, 1e12, 1.25, 1)").to_pylist()
    given, received, answers = (
        sum(t[k] for t in tokens) for k in ("input_tokens", "output_tokens", "requests_completed")
    )
    context = (given + received) / answers / 2
    flops = (2 * (5_800_000 - 800_000) + 2 * 512 * 4 * context) * (1 + given / received)
    assert compute["format"] == "fp8"
    assert compute["flops_per_output_token"] == pytest.approx(flops)
    assert compute["compute_cap_tokens_per_s"] == pytest.approx(1978.9e12 / flops)
    assert (tight["binding"], loose["binding"]) == ("energy", "compute")
    assert loose["cap_tokens_per_s"] == pytest.approx(1978.9e12 / flops)
    assert loose["of_cap"] == pytest.approx(loose["measured_tokens_per_s"] / loose["cap_tokens_per_s"])


@pytest.mark.parametrize(
    ("gpu", "queue", "active"),
    [
        ({"tensor_active": 0.9, "dram_active": 0.5, "throttle_reasons": 0}, {"waiting": 3.0}, "compute"),
        ({"tensor_active": 0.2, "dram_active": 0.93, "throttle_reasons": 0}, {"waiting": 3.0}, "memory_bandwidth"),
        ({"tensor_active": 0.5, "dram_active": 0.5, "throttle_reasons": 4}, {"waiting": 3.0}, "power_cap"),
        ({"tensor_active": 0.5, "dram_active": 0.5, "throttle_reasons": 64}, {"waiting": 3.0}, "thermal"),
        (
            {"tensor_active": 0.5, "dram_active": 0.5, "throttle_reasons": 0},
            {"waiting": 3.0, "kv_cache_usage": 0.97},
            "kv_capacity",
        ),
        (
            {"tensor_active": 0.5, "dram_active": 0.5, "throttle_reasons": 0},
            {"waiting": 0.0, "kv_cache_usage": 0.97},
            "offered_load",
        ),
        ({"tensor_active": 0.5, "dram_active": 0.5, "throttle_reasons": 0}, {"waiting": 3.0}, "unknown"),
        ({"utilization": 1.0, "throttle_reasons": 0}, {"waiting": 3.0}, "unknown"),
        ({}, {}, "unknown"),
    ],
)
def test_the_active_constraint_is_proven_or_unknown(warehouse, gpu, queue, active):
    spec = Spec(**ON_GPU)
    add_trial(warehouse, spec, 0)
    state(warehouse, spec.trial, 0, **gpu)
    engine(warehouse, spec.trial, 0, **queue)
    with open_warehouse(warehouse) as connection:
        (row,) = connection.sql("from active_constraint").to_pylist()
    assert row["active"] == active
    known = {e["name"]: e["used"] for e in row["evidence"]}
    assert ("compute" in known) == ("tensor_active" in gpu)
    if active not in ("unknown", "offered_load"):
        assert row["utilisation"] == pytest.approx(known[active])
        assert row["margin"] == pytest.approx(known[active] - known[row["next"]])
