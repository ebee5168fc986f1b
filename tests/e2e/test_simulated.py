"""The simulator as a user meets it: a forecast, a sweep without GPU or installation, rows that say what they are."""

from __future__ import annotations

import json

import pytest

SWEEP = """
schema: 1
name: simulation
matrix:
  model: llama-3.1-8b
  engine: simulated
  accelerator: [H100, H200]
  concurrency: 4
workload: {input_tokens: 64, output_tokens: 16}
measure: {repeats: 1, warmup: 1s, window: 2s}
"""
STRAYS = (0.95, 2.0)
"""A busy machine answers late, and GPUs that wait take power: more than the forecast is no wonder, less would be."""


@pytest.fixture(scope="module")
def ran(cli_in, tmp_path_factory):
    """The sweep, run; nothing is installed and no model fetched, so that a home of its own costs nothing."""
    folder = tmp_path_factory.mktemp("simulated")
    joulemark = cli_in(folder)
    joulemark.environment["JOULEMARK_HOME"] = str(folder / "home")
    sweep = joulemark.sweep(SWEEP)
    plan = json.loads(joulemark("plan", sweep, "--simulate", "--json").stdout)
    return joulemark, plan, joulemark.complete(sweep)


def test_every_row_is_simulated_and_looks_it(ran):
    joulemark, _, done = ran
    assert "produced by the simulator; not a measurement" in done.stdout
    trials = joulemark.sql("from trials select trial, simulated, outcome")
    assert len(trials) >= 2
    assert all(t["simulated"] for t in trials)
    rows = joulemark.sql("from leaderboard")
    assert {(r["boundary"], r["fidelity"]) for r in rows} == {("gpu", "simulated")}
    assert {r["accelerator"] for r in rows} == {"H100", "H200"}
    readings = joulemark.sql("select distinct fidelity, scope from power where device like 'SIM-%'")
    assert readings == [{"fidelity": "simulated", "scope": "gpu_board"}]


def test_what_was_run_is_what_was_forecast(ran):
    joulemark, plan, _ = ran
    forecast = {c["cell"]: c["j_per_output_token"] for c in plan["forecast"]["cells"]}
    rows = joulemark.sql("select cell, energy_j / output_tokens as j_per_token from trial_results where valid")
    assert {r["cell"] for r in rows} == set(forecast)
    for row in rows:
        assert STRAYS[0] < row["j_per_token"] / forecast[row["cell"]] < STRAYS[1]


def test_records_hold_the_model_and_what_its_units_did(ran):
    joulemark, _, _ = ran
    (engine,) = joulemark.sql("from trials select distinct engine, engine_version")
    assert engine == {"engine": "simulated", "engine_version": "1"}
    evidence = joulemark.sql("from constraint_evidence select compute, memory_bandwidth")
    assert all(0 < e["compute"] < e["memory_bandwidth"] < 1 for e in evidence)
    states = joulemark.sql("from engine_state select max(generation_tokens_total) as tokens, max(running) as running")
    assert states[0]["tokens"] > 0
    assert states[0]["running"] <= 4


def test_driver_and_agent_said_what_they_did(ran):
    joulemark, _, _ = ran
    logs = sorted((joulemark.warehouse / "logs").glob("*.jsonl"))
    assert {path.name.split("-")[0] for path in logs} == {"agent", "driver"}
    said = [json.loads(line) for path in logs for line in path.read_text().splitlines()]
    assert {line["sweep"] for line in said} == {"simulation"}
    trials = {t["trial"] for t in joulemark.sql("from trials select trial")}
    for event in ("trial_began", "trial_ended", "committed"):
        assert {line["trial"] for line in said if line["event"] == event} == trials
    events = {line["event"] for line in said}
    assert {"sweep_began", "agent_opened", "engine_started", "agent_finished", "sweep_ended"} <= events
    assert not list((joulemark.folder / "home" / "drivers").iterdir())


def test_simulated_rows_are_published_only_on_request(ran, tmp_path):
    joulemark, _, _ = ran
    refused = joulemark("publish", tmp_path / "site", "--format", "csv", code=3)
    assert "--simulated" in refused.stderr
    joulemark("publish", tmp_path / "site", "--format", "csv", "--simulated")
    (table,) = (tmp_path / "site").glob("leaderboard*.csv")
    assert "simulated" in table.read_text()


def test_the_forecast_says_what_it_is_and_what_it_costs(ran):
    joulemark, plan, _ = ran
    forecast = plan["forecast"]
    assert forecast["fidelity"] == "simulated"
    assert "nothing was measured" in forecast["basis"]
    assert forecast["complete"]
    assert forecast["node_energy_kwh"] > forecast["gpu_energy_kwh"] > 0
    assert forecast["gpu_cost"] > 0 < forecast["electricity"]
    joulemark("plan", joulemark.folder / "sweep.yaml", "--simulate")
