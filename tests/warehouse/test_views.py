"""The views against the truth of synthetic trials, against the raw files, and against their own comments."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import S, Spec, add_trial, cells

from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.views import CONSTANT, MACROS, ORDER
from joulemark.warehouse.views.docs import all_docs


@pytest.mark.parametrize("doc", all_docs(), ids=lambda d: d.name)
def test_comments_list_exactly_the_columns(shared, doc):
    table = shared.connection.sql(doc.example if doc.name in MACROS else f"from {doc.name}")
    assert [c.name for c in doc.columns] == table.column_names
    assert doc.text


def test_an_empty_warehouse_has_all_views(tmp_path):
    with open_warehouse(tmp_path) as connection:
        for name in (*DATASETS, "manifests", "sites", *(v for v in ORDER if v not in (*MACROS, *CONSTANT))):
            assert connection.sql(f"from {name}").num_rows == 0
        for name, dataset in DATASETS.items():
            assert connection.sql(f"from {name}").schema.types == dataset.arrow.types


def test_datasets_come_back_as_written(shared):
    for name in ("power", "requests", "trial_energy", "request_energy", "cell_statistics"):
        assert shared.connection.sql(f"from {name}").schema.types == DATASETS[name].arrow.types


def test_tokens_are_every_chunk_at_its_instant(shared):
    for truth in shared.truths:
        rows = shared.connection.sql(f"from tokens select epoch_us(t) as t, tokens where trial = '{truth.trial}'")
        assert sorted((r["t"], r["tokens"]) for r in rows.to_pylist()) == sorted(truth.arrivals_us)


def test_window_counts_only_what_arrived_in_it(shared):
    counted = shared.connection.sql("""
        from tokens k join trials t using (trial)
        select trial, sum(k.tokens)::bigint as tokens
        where k.t >= t.window_start_at and k.t < t.window_end_at
        group by trial
    """)
    by_view = {r["trial"]: r["tokens"] for r in counted.to_pylist()}
    results = {r["trial"]: r for r in shared.connection.sql("from trial_results").to_pylist()}
    for truth in shared.truths:
        assert results[truth.trial]["output_tokens"] == truth.output_tokens == by_view[truth.trial]
        assert results[truth.trial]["energy_j"] == pytest.approx(truth.window_j, rel=1e-9)
        assert results[truth.trial]["j_per_output_token"] == pytest.approx(truth.window_j / truth.output_tokens)
        assert results[truth.trial]["valid"]


def test_prompts_count_where_their_first_token_falls(shared):
    for truth in shared.truths[:2]:
        firsts = [sent + Spec().ttft_us for sent, _ in truth.requests]
        inside = sum(truth.window.start_us <= t < truth.window.end_us for t in firsts)
        (row,) = shared.connection.sql(f"from trial_tokens where trial = '{truth.trial}'").to_pylist()
        assert row["input_tokens"] == 64 * inside
        ended = sum(truth.window.start_us <= last + 500 < truth.window.end_us for _, last in truth.requests)
        assert row["requests_completed"] == ended


def test_energy_equals_a_short_script_over_the_raw_parquet(shared):
    """The definition once more, in ten lines, without any of the build step's code."""
    for truth in shared.truths:
        manifest = shared.connection.snapshot.manifest(truth.trial)
        window = manifest.nodes[0].window
        path = next(t.path for t in manifest.traces if t.dataset == "power")
        table = pq.read_table(shared.warehouse.path(path)).sort_by("t")
        t = table["t"].cast(pa.int64()).to_numpy()
        counter = table["energy_uj"].to_numpy()
        changed = np.flatnonzero(np.diff(counter)) + 1
        edges = np.interp([window.start_us, window.end_us], t[changed], counter[changed] / 1e6)
        (row,) = shared.connection.sql(f"from trial_power where trial = '{truth.trial}'").to_pylist()
        assert row["energy_j"] == pytest.approx(edges[1] - edges[0], rel=1e-6)


def test_instants_are_exact(shared):
    for manifest in map(shared.connection.snapshot.manifest, shared.connection.snapshot.trials):
        (row,) = shared.connection.sql(f"""
            from trials select epoch_us(started_at) as a, epoch_us(ended_at) as b, epoch_us(window_start_at) as c
            where trial = '{manifest.trial}'
        """).to_pylist()
        window = manifest.nodes[0].window
        assert (row["a"], row["b"]) == (manifest.started_us, manifest.ended_us)
        assert row["c"] == (window.start_us if window else None)


def test_latencies(shared):
    one, several = shared.truths[0], shared.truths[-1]
    rows = {r["trial"]: r for r in shared.connection.sql("from trial_tokens").to_pylist()}
    row = rows[one.trial]
    assert (row["ttft_p50_ms"], row["tpot_p50_ms"], row["itl_p99_ms"]) == (200, 50, 50)
    assert row["e2e_p50_ms"] == 200 + 15 * 50
    row = rows[several.trial]
    assert row["tpot_p50_ms"] == row["itl_p50_ms"] == 50 / 4
    assert row["e2e_p99_ms"] == 200 + 3 * 50


def rewrite_requests(warehouse, trial, change):
    path = warehouse.path(f"requests/{trial}.parquet")
    rows = [change(r) for r in pq.read_table(path).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema=DATASETS["requests"].arrow), path)


@pytest.mark.parametrize("tokens", [15, None])
def test_tokens_that_do_not_add_up_are_a_reason(tmp_path, tokens):
    warehouse = Warehouse.at(tmp_path)
    truth = add_trial(warehouse, Spec(), 0)
    rewrite_requests(warehouse, truth.trial, lambda r: r | ({"output_tokens": tokens} if r["request"] == 8 else {}))
    with open_warehouse(warehouse) as connection:
        assert connection.sql("from trial_results").to_pylist()[0]["reasons"] == ["token_mismatch"]


def test_untimed_tokens_reconcile_and_are_not_counted(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    truth = add_trial(warehouse, Spec(), 0)
    rewrite_requests(warehouse, truth.trial, lambda r: r | {"output_tokens": 18, "untimed_tokens": 2})
    with open_warehouse(warehouse) as connection:
        (row,) = connection.sql("from trial_results").to_pylist()
        (tokens,) = connection.sql("from trial_tokens").to_pylist()
    assert row["valid"]
    assert row["output_tokens"] == truth.output_tokens
    assert tokens["untimed_tokens"] == 2 * tokens["requests_completed"]


def test_a_client_on_another_clock_is_a_reason(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    truth = add_trial(warehouse, Spec(), 0)
    rewrite_requests(warehouse, truth.trial, lambda r: r | {"node": "elsewhere"})
    with open_warehouse(warehouse) as connection:
        assert connection.sql("from trial_results").to_pylist()[0]["reasons"] == ["clock_uncertain"]


def test_failed_requests_are_a_reason(shared):
    (row,) = shared.connection.sql("from failures where outcome = 'invalid'").to_pylist()
    assert row["reasons"] == ["requests_failed"]
    (row,) = shared.connection.sql("from failures where outcome = 'failed'").to_pylist()
    assert (row["failure_class"], row["error"], row["reasons"]) == ("engine_died", "the engine ended", [])


def test_cells_are_geometric_means_over_valid_trials(shared):
    rows = {r["cell"]: r for r in shared.connection.sql("from cell_results").to_pylist()}
    statistics = {r["cell"]: r for r in shared.connection.sql("from cell_statistics").to_pylist()}
    for cell in {t.cell for t in shared.truths}:
        values = [t.window_j / t.output_tokens for t in shared.truths if t.cell == cell]
        assert rows[cell]["j_per_output_token"] == pytest.approx(math.prod(values) ** (1 / len(values)))
        assert statistics[cell]["j_per_token"] == pytest.approx(rows[cell]["j_per_output_token"])
        assert rows[cell]["trials_valid"] == rows[cell]["planned_trials"] == 2
    invalid = next(r for r in rows.values() if r["quantization"] == "f16")
    assert (invalid["trials_valid"], invalid["trials_invalid"], invalid["trials_failed"]) == (0, 1, 1)
    assert (invalid["grade"], invalid["j_per_output_token"]) == (None, None)


def test_the_leaderboard_holds_valid_cells_in_order(shared):
    rows = shared.connection.sql("from leaderboard").to_pylist()
    assert [(r["model"], r["quantization"], r["concurrency"]) for r in rows] == [
        ("tiny-moe", "q8_0", 4),
        ("tiny-dense", "q4_0", 4),
        ("tiny-dense", "q4_0", 2),
        ("tiny-dense", "q8_0", 2),
    ]
    assert all(r["j_per_token_low"] < r["j_per_token"] < r["j_per_token_high"] for r in rows)
    assert all(
        r["rank"]
        == (f"{r['rank_best']}" if r["rank_best"] == r["rank_worst"] else f"{r['rank_best']}-{r['rank_worst']}")
        for r in rows
    )
    assert {(r["boundary"], r["fidelity"], r["grade"]) for r in rows} == {("cpu", "modelled", "quick")}


def test_rows_are_ranked_only_with_their_like(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    specs = [Spec(), Spec(output_tokens=8), Spec(model="other"), Spec(model="made-up", simulated=True)]
    cells(warehouse, specs, repeats=3, spread=0.02)
    with open_warehouse(warehouse) as connection:
        rows = connection.sql("from leaderboard").to_pylist()
    assert {(r["model"], r["output_tokens"], r["ranked_rows"]) for r in rows} == {
        ("tiny-dense", 16, 2),
        ("other", 16, 2),
        ("tiny-dense", 8, 1),
        ("made-up", 16, 1),
    }


def test_grades(tmp_path, monkeypatch):
    monkeypatch.setattr("synthetic.WINDOW_S", (20, 90))
    monkeypatch.setattr("synthetic.END_S", 100)
    warehouse = Warehouse.at(tmp_path)
    plans = {"quick": (2, 1), "standard": (3, 1), "publishable": (3, 3)}
    number = 0
    for model, (repeats, starts) in plans.items():
        for start in range(starts):
            for repeat in range(repeats):
                spec = Spec(model=model, start=start, repeat=repeat, planned_repeats=repeats, planned_starts=starts)
                add_trial(warehouse, spec, number)
                number += 1
    add_trial(warehouse, Spec(model="unfinished", planned_repeats=3), number)
    with open_warehouse(warehouse) as connection:
        grades = {r["model"]: r["grade"] for r in connection.sql("from cell_results").to_pylist()}
    assert grades == {"unfinished": "quick"} | {m: m for m in plans}


def test_nodes_are_a_column_and_clusters(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    for number, (node, watts) in enumerate([("node-a", 50.0), ("node-a", 50.1), ("node-b", 52.0), ("node-b", 52.1)]):
        add_trial(warehouse, Spec(nodes=(node,), repeat=number % 2, busy_w=watts), number)
    with open_warehouse(warehouse) as connection:
        (row,) = connection.sql("from cell_statistics").to_pylist()
        (cell,) = connection.sql("from cell_results").to_pylist()
    assert (row["trials"], row["starts"], row["nodes"]) == (4, 2, 2)
    assert (cell["starts"], cell["nodes"]) == (2, 2)


def test_cost_of_a_million_tokens(tmp_path):
    from test_trial_energy import GPU_1, GPU_2, gpus

    warehouse = Warehouse.at(tmp_path)
    truth = add_trial(warehouse, gpus(GPU_1, GPU_2), 0)
    with open_warehouse(warehouse) as connection:
        (row,) = connection.sql("from cost(2.5, 0.12, 1.3, false)").to_pylist()
        (included,) = connection.sql("from cost(2.5, 0.12, 1.3, true)").to_pylist()
    per_s = truth.output_tokens / 10
    assert row["gpu_cost_per_million"] == pytest.approx(2 / per_s / 3600 * 1e6 * 2.5)
    kwh = 3 * truth.window_j / truth.output_tokens * 1e6 / 3.6e6 * 1.3
    assert row["kwh_per_million"] == pytest.approx(kwh)
    assert row["electricity_cost_per_million"] == pytest.approx(kwh * 0.12)
    assert row["cost_per_million"] == pytest.approx(2 / per_s / 3600 * 1e6 * 2.5 + kwh * 0.12)
    assert row["tokens_per_dollar"] == pytest.approx(1e6 / row["cost_per_million"])
    assert included["electricity_cost_per_million"] == 0
    assert included["cost_per_million"] == row["gpu_cost_per_million"]


def test_cost_at_the_stored_prices(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    truth = add_trial(warehouse, Spec(), 0)
    site = {"gpu_hour": 0.4, "electricity_per_kwh": 0.3, "pue": 1.5, "includes_power": False}
    site |= {"currency": "EUR", "as_of": "2026-01-01"}
    warehouse.write("sweeps/made-up/site.json", json.dumps(site).encode())
    warehouse.write("sweeps/unknown/site.json", json.dumps(site | {"gpu_hour": None}).encode())
    add_trial(warehouse, Spec(repeat=1, sweep="unknown"), 1)
    with open_warehouse(warehouse) as connection:
        row, unknown = connection.sql("from trial_cost order by trial").to_pylist()
    assert (unknown["device_cost"], unknown["cost_per_million_tokens"]) == (None, None)
    assert row["device_cost"] == pytest.approx(10 / 3600 * 0.4)
    assert row["electricity_cost"] == pytest.approx(truth.window_j / 3.6e6 * 1.5 * 0.3)
    whole = row["device_cost"] + row["electricity_cost"]
    assert row["cost_per_million_tokens"] == pytest.approx(whole / truth.output_tokens * 1e6)
    assert (row["currency"], row["prices_as_of"]) == ("EUR", "2026-01-01")


def test_cost_of_a_meaningful_response(shared):
    table = shared.connection.sql("select cost_per_response(150, 1.2, 0.00015, 150, 0.000002) as dollars")
    assert table.to_pylist() == [{"dollars": pytest.approx(0.0273)}]


def test_utilisation_adjusted(shared):
    (cell,) = shared.connection.sql("from cell_results where model = 'tiny-moe'").to_pylist()
    (row,) = shared.connection.sql(f"from utilisation_adjusted(0.25) where cell = '{cell['cell']}'").to_pylist()
    busy, idle, rate = cell["mean_w"], 12.0, cell["output_tokens_per_s"]
    assert row["tokens_per_s"] == pytest.approx(0.25 * rate)
    assert row["j_per_output_token"] == pytest.approx((0.25 * busy + 0.75 * idle) / (0.25 * rate))


def test_a_window_edge_on_a_chunk_is_counted_once(tmp_path):
    """The window holds its start and not its end, so two windows side by side count every token once."""
    warehouse = Warehouse.at(tmp_path)
    spec = Spec(concurrency=1, ttft_us=S, token_us=S, output_tokens=4)
    truth = add_trial(warehouse, spec, 0)
    with open_warehouse(warehouse) as connection:
        (row,) = connection.sql("from trial_tokens").to_pylist()
    assert row["output_tokens"] == truth.output_tokens


def test_prefill_and_decode_apart_beside_the_cell_itself(tmp_path):
    warehouse = Warehouse.at(str(tmp_path))
    whole, prompts, answers = Spec(busy_w=60), Spec(busy_w=90, output_tokens=1), Spec(busy_w=40, input_tokens=8)
    # Of another batch, and of another deployment: none of them belongs to the three.
    others = [Spec(concurrency=3), Spec(quantization="q4_0", output_tokens=1), Spec(seed=5, input_tokens=8)]
    for number, spec in enumerate((whole, prompts, answers, *others)):
        add_trial(warehouse, spec, number)
    with open_warehouse(tmp_path) as connection:
        figures = {r["cell"]: r for r in connection.sql("from cell_results").to_pylist()}
        (row,) = connection.sql("from phase_energy").to_pylist()
    assert (row["cell"], row["prompt_cell"], row["answer_cell"]) == tuple(
        s.cell.cell_id for s in (whole, prompts, answers)
    )
    prefill = figures[prompts.cell.cell_id]["j_per_input_token"]
    # Of the 8 tokens of each of its prompts, shared out over the 16 tokens of the answer.
    decode = figures[answers.cell.cell_id]["j_per_output_token"] - prefill * 8 / 16
    assert row["prefill_j_per_token"] == pytest.approx(prefill)
    assert row["decode_j_per_token"] == pytest.approx(decode)
    assert row["isolated_j"] == pytest.approx(64 * prefill + 16 * decode)
    assert row["measured_j"] == pytest.approx(16 * figures[whole.cell.cell_id]["j_per_output_token"])
    assert row["difference"] == pytest.approx(row["isolated_j"] / row["measured_j"] - 1)
    # Ten seconds are too short for the regression.
    assert row["estimated_prefill_j_per_token"] is row["prefill_difference"] is None


def test_licence_commit_and_digest_of_weights(tmp_path):
    warehouse = Warehouse.at(str(tmp_path))
    found = {"licence": "mit", "commit": "0" * 40, "digest": "d"}
    add_trial(warehouse, Spec(weights=found), 0)
    add_trial(warehouse, Spec(model="of-the-catalogue", weights={"licence": "x"}, facts={"licence": "apache-2.0"}), 1)
    with open_warehouse(tmp_path) as connection:
        rows = connection.sql("from trials order by model desc").to_pylist()
    said = [(r["licence"], r["revision"], r["weights_digest"]) for r in rows]
    assert said == [("mit", "0" * 40, "d"), ("apache-2.0", None, None)]
