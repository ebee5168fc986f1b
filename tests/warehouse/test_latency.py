"""Latencies and goodput against a few requests whose every instant is known, and files of an earlier version."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import EPOCH_US, WINDOW_S, S, Spec, add_trial, manifest

from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.columns import SCHEMA_VERSION_KEY
from joulemark.warehouse.store.layout import trial_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit
from joulemark.warehouse.store.parquet import write_table

BEGIN_US = EPOCH_US + WINDOW_S[0] * S
WINDOW_LENGTH_S = WINDOW_S[1] - WINDOW_S[0]


def request(spec, number, late_ms, dts_ms, sizes, status="ok", **more):
    """A request due 100 ms x number into the window, sent ``late_ms`` later."""
    due = BEGIN_US + number * 100_000
    sent = due + late_ms * 1_000
    last = sent + sum(dts_ms) * 1_000
    return {
        "trial": spec.trial,
        "node": spec.nodes[0],
        "request": number,
        "scheduled_at": due,
        "sent_at": sent,
        "first_token_at": sent + dts_ms[0] * 1_000 if dts_ms else None,
        "last_token_at": last if dts_ms else None,
        "ended_at": last + 1_000,
        "asked_input_tokens": 8,
        "asked_output_tokens": sum(sizes),
        "output_tokens": sum(sizes),
        "untimed_tokens": 0,
        "status": status,
        "chunk_dt_us": [d * 1_000 for d in dts_ms],
        "chunk_tokens": sizes,
    } | more


@pytest.fixture
def made(tmp_path):
    """Put requests into a warehouse as one trial, and open it."""

    def make(rows, spec, slo=None):
        warehouse = Warehouse.at(tmp_path / "w")
        table = pa.Table.from_pylist(rows, schema=DATASETS["requests"].arrow)
        trace = write_table(warehouse, DATASETS["requests"], trial_file("requests", spec.trial), table)
        if slo is not None:
            warehouse.write(f"sweeps/{spec.sweep}/slo.json", json.dumps(slo).encode())
        commit(warehouse, manifest(spec, EPOCH_US, (trace,)))
        return open_warehouse(tmp_path / "w")

    return make


def test_latencies_leave_out_the_first_token_count_tokens_and_know_the_schedule(made):
    spec = Spec()
    rows = [
        request(spec, 0, 30, [200, 60, 20], [1, 3, 1]),
        request(spec, 1, 0, [500], [4]),
        request(spec, 2, 0, [], [], status="failed", output_tokens=None),
    ]
    with made(rows, spec) as warehouse:
        first, whole, failed = warehouse.sql("from request_latency order by request").to_pylist()
    assert (first["ttft_ms"], first["ttft_scheduled_ms"]) == (200, 230)
    assert (first["e2e_ms"], first["e2e_scheduled_ms"]) == (280, 310)
    assert first["send_delay_ms"] == 30
    assert first["tpot_ms"] == 80 / 4
    assert first["gaps_ms"] == [20, 20, 20, 20]
    assert first["normalised_ms"] == 280 / 5
    # All in one chunk: there is no gap to speak of.
    assert (whole["tpot_ms"], whole["gaps_ms"], whole["ttft_ms"]) == (None, [], 500)
    assert (failed["ttft_ms"], failed["e2e_ms"], failed["tpot_ms"]) == (None, None, None)


def test_goodput_judges_each_request_and_a_failed_one_meets_nothing(made):
    spec = Spec()
    rows = [request(spec, i, 0, [100 + 10 * i, 20, 20], [1, 1, 1]) for i in range(10)]
    rows.append(request(spec, 10, 0, [10], [1], status="failed", error="HTTP 500"))
    rows.append(request(spec, 11, 0, [10], [1], status="truncated"))
    rows.append(request(spec, 12, 400, [10, 20], [1, 1]))
    with made(rows, spec, {"ttft_p50": 0.130, "ttft_p99": 0.145, "itl_p99": 0.5}) as warehouse:
        (own,) = warehouse.sql("from trial_goodput").to_pylist()
        (asked,) = warehouse.sql("from goodput(145, NULL, 500, NULL)").to_pylist()
        (tight,) = warehouse.sql("from goodput(NULL, 19.9, NULL, NULL)").to_pylist()
        (seen,) = warehouse.sql("from trial_tokens").to_pylist()
    # Of those sent on time, the first five; the one that was sent late waited for 410 ms all the same.
    assert (asked["requests"], asked["requests_good"]) == (13, 5)
    assert asked["attainment"] == pytest.approx(5 / 13)
    assert asked["goodput_requests_per_s"] == pytest.approx(5 / WINDOW_LENGTH_S)
    assert asked["goodput_tokens_per_s"] == pytest.approx(15 / WINDOW_LENGTH_S)
    assert {k: own[k] for k in asked} == asked
    assert own["slo_met"] is False
    assert tight["requests_good"] == 0
    assert (seen["requests_completed"], seen["requests_truncated"], seen["requests_failed"]) == (11, 1, 1)


def test_a_trial_meets_its_slo_by_its_percentiles(made):
    spec = Spec()
    rows = [request(spec, i, 0, [100 + i, 20], [1, 1]) for i in range(20)]
    with made(rows, spec, {"ttft_p50": 0.115, "tpot_mean": 0.021, "e2e_p99": 0.139}) as warehouse:
        (own,) = warehouse.sql("from trial_goodput").to_pylist()
    assert own["slo_met"] is True
    assert own["slo"] == ["e2e_p99 <= 139.0 ms", "tpot_mean <= 21.0 ms", "ttft_p50 <= 115.0 ms"]
    # What may be the median's is asked of each request here: four are slower.
    assert own["requests_good"] == 16


def test_truncated_answers_are_a_reason(made):
    spec = Spec()
    rows = [request(spec, i, 0, [100, 20], [1, 1], status="ok" if i else "truncated") for i in range(9)]
    with made(rows, spec) as warehouse:
        reasons = warehouse.sql("select reasons from trial_results").to_pylist()
    assert all("requests_truncated" in r["reasons"] for r in reasons)
    assert reasons


@pytest.mark.parametrize("both", [False, True])
def test_traces_of_version_1_read_with_nulls_for_what_they_lack(tmp_path, both):
    warehouse, requests = Warehouse.at(tmp_path), DATASETS["requests"]
    specs = [Spec(), Spec(repeat=1)] if both else [Spec()]
    for number, spec in enumerate(specs):
        add_trial(warehouse, spec, number)
    path = tmp_path / trial_file("requests", specs[0].trial)
    table = pq.read_table(path).drop_columns(["reasoning_tokens", "accepted_draft_tokens", "finish_reason"])
    pq.write_table(table.replace_schema_metadata(table.schema.metadata | {SCHEMA_VERSION_KEY: b"1"}), path)
    with open_warehouse(tmp_path) as connection:
        assert connection.sql("from requests").schema.types == requests.arrow.types
        assert connection.sql("select count(*) as n from requests where finish_reason is null").to_pylist()[0]["n"] > 0
        assert connection.sql("from trial_results where output_tokens > 0").num_rows >= len(specs)
        assert not connection.warnings
