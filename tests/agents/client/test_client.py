"""The load client against a scripted server: its rows must be the script's truth."""

import sys
import time
from pathlib import Path

import pytest

from joulemark.agents.client.conductor import Conductor
from joulemark.agents.client.job import Broken, Done
from joulemark.workloads.workload import Workload

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from raw_server import job, rows_of, us
from scripted_server import Script, ScriptedServer

STEADY = [(0.02, 1), (0.01, 3), (0.01, 6)]
THREE = Workload(7, 6, 3, seed=1)


def run(script, spool, **changes):
    values = {"workload": THREE, "warmup_s": 0.3, "window_s": 1.0} | changes
    with ScriptedServer(script) as server:
        result = Conductor.start(job(server.url, spool, **values)).result(lambda _: None)
    return result, rows_of(spool), server.bodies


@pytest.mark.parametrize(("reuse", "processes"), [(True, 1), (False, 1), (True, 2)])
def test_rows_are_the_scripts_truth(tmp_path, reuse, processes):
    result, rows, bodies = run(lambda *_: Script(STEADY), tmp_path, reuse_connections=reuse, processes=processes)
    assert isinstance(result, Done)
    assert {r["status"] for r in rows} == {"ok"}
    for row in rows:
        assert sum(row["chunk_tokens"] or [1] * len(row["chunk_dt_us"])) == 6
        assert (row["output_tokens"], row["untimed_tokens"], row["input_tokens"]) == (6, 0, 7)
        assert sum(row["chunk_dt_us"]) == us(row["last_token_at"]) - us(row["sent_at"])
        assert row["chunk_dt_us"][0] == us(row["first_token_at"]) - us(row["sent_at"])
        assert row["scheduled_at"] <= row["sent_at"] <= row["first_token_at"] <= row["last_token_at"] <= row["ended_at"]
        assert us(row["first_token_at"]) - us(row["sent_at"]) >= 19_000
        # The script sleeps 40 ms before its last token; a busy machine can only make that longer.
        assert us(row["last_token_at"]) - us(row["sent_at"]) >= 39_000
    assert len(bodies) == len(rows)
    assert len({row["request"] for row in rows}) == len(rows)
    assert all(b["ignore_eos"] and b["max_tokens"] == 6 and len(b["prompt"]) == 7 for b in bodies)
    assert all(b["stream_options"] == {"include_usage": True, "continuous_usage_stats": True} for b in bodies)
    assert len({tuple(b["prompt"]) for b in bodies}) == len(bodies), "a prompt was repeated"
    assert result.window_end_us - result.window_start_us >= 1_000_000
    ended = [us(r["ended_at"]) for r in rows]
    assert result.completed == sum(result.window_start_us <= e < result.window_end_us for e in ended)
    assert (result.failed, result.processes) == (0, processes)
    assert len(result.segments) == processes
    assert result.in_flight_fraction > 0.9
    # Nothing is sent after the window.
    assert max(us(r["sent_at"]) for r in rows) < result.window_end_us


def test_prompts_come_from_the_seeds_alone(tmp_path):
    prompts = []
    for number, seed in enumerate((2, 2, 3)):
        _, _, bodies = run(
            lambda *_: Script(STEADY), tmp_path / f"{number}", prompt_seed=seed, workload=Workload(7, 6, 1, seed=1)
        )
        prompts.append([b["prompt"] for b in bodies][:5])
    assert prompts[0] == prompts[1] != prompts[2]


def test_tokens_that_no_chunk_accounts_for_are_untimed(tmp_path):
    _, rows, _ = run(lambda *_: Script(STEADY, counts="none", usage=6), tmp_path)
    assert all(r["untimed_tokens"] == 6 == r["output_tokens"] and r["chunk_dt_us"] == [] for r in rows)
    assert all(r["first_token_at"] is None for r in rows)


@pytest.mark.parametrize(
    ("bad", "status", "words"),
    [
        (Script(STEADY, status=429), "failed", "HTTP 429"),
        (Script(STEADY, status=500), "failed", "scripted refusal"),
        (Script(STEADY, end="close"), "broken", "after 6 tokens"),
        (Script(STEADY, end="garbage"), "broken", "not an event"),
        (Script(STEADY, end="stall"), "timeout", "no whole answer in 0.5 s"),
        (Script([(0.02, 1), (0.01, 3)]), "truncated", "3 of 6 tokens"),
    ],
)
def test_every_fault_is_a_row_and_the_load_goes_on(tmp_path, bad, status, words):
    result, rows, _ = run(lambda _, n: bad if n % 4 == 3 else Script(STEADY), tmp_path, request_timeout_s=0.5)
    assert isinstance(result, Done)
    faults = [r for r in rows if r["status"] == status]
    assert faults
    assert all(words in r["error"] for r in faults)
    assert {r["status"] for r in rows} == {"ok", status}
    assert result.failed > 0


def test_a_server_that_never_serves_is_said_and_not_hammered(tmp_path):
    result, rows, _ = run(lambda *_: Script([], status=503), tmp_path)
    assert isinstance(result, Broken)
    assert "HTTP 503" in result.error
    assert len(rows) < 100


def test_requests_that_do_not_end_in_the_drain_are_cancelled_rows(tmp_path):
    result, rows, _ = run(lambda _, n: Script(STEADY, end="stall") if n > 40 else Script(STEADY), tmp_path, drain_s=0.3)
    assert isinstance(result, Done)
    assert [r["status"] for r in rows].count("cancelled") >= 1
    assert "not_steady" not in result.reasons


def test_streams_that_stand_still_make_a_load_that_is_not_steady(tmp_path):
    result, _, _ = run(
        lambda _, n: Script(STEADY, status=503) if n % 2 and n > 20 else Script(STEADY), tmp_path, drain_s=0.3
    )
    assert isinstance(result, Done)
    assert "not_steady" in result.reasons


def test_the_client_ends_with_its_agent(tmp_path):
    with ScriptedServer(lambda *_: Script(STEADY)) as server:
        client = Conductor.start(job(server.url, tmp_path, THREE, window_s=600.0, processes=2))
        time.sleep(0.5)
        for worker in client._processes._workers:
            worker.stdin.close()
            assert worker.wait(30) == 3


def test_a_process_that_dies_ends_the_load(tmp_path):
    with ScriptedServer(lambda *_: Script(STEADY)) as server:
        client = Conductor.start(job(server.url, tmp_path, THREE, window_s=600.0, processes=2))
        client._processes._workers[1].kill()
        result = client.result(lambda _: None)
    assert isinstance(result, Broken)
    assert "exit code -9" in result.error
    assert all(worker.poll() is not None for worker in client._processes._workers)


def test_progress_is_said(tmp_path):
    said = []
    with ScriptedServer(lambda *_: Script(STEADY)) as server:
        Conductor.start(job(server.url, tmp_path, THREE, window_s=2.0)).result(said.append)
    assert [p.phase for p in said if p.phase == "window"]
    assert max(p.tokens_per_s for p in said) > 50
    assert all(p.phase_left_s >= 0 for p in said)
