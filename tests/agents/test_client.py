"""The load client against a scripted server: its rows must be the script's truth."""

import sys
from pathlib import Path

import pytest

from joulemark.agents.client.job import Broken, ClientJob, Done
from joulemark.agents.client.process import ClientProcess
from joulemark.agents.spool.segment import read_segment

sys.path.insert(0, str(Path(__file__).parent))
from scripted_server import Script, ScriptedServer


def job(server, spool, **changes):
    values = {
        "trial": "t",
        "node": "n",
        "url": server.url,
        "model": "model",
        "spool": str(spool),
        "concurrency": 3,
        "input_tokens": 7,
        "output_tokens": 6,
        "vocab_size": 500,
        "workload_seed": 1,
        "prompt_seed": 2,
        "warmup_s": 0.3,
        "window_s": 1.0,
        "request_timeout_s": 5.0,
        "drain_s": 5.0,
        "body": {"ignore_eos": True},
    }
    return ClientJob(**{**values, **changes})


def run(script, spool, **changes):
    with ScriptedServer(script) as server:
        result = ClientProcess.start(job(server, spool, **changes)).result(lambda _: None)
    rows = []
    for segment in spool.glob("requests-*"):
        rows += read_segment(segment).to_pylist()
    return result, sorted(rows, key=lambda r: r["request"]), server.bodies


def us(instant):
    return round(instant.timestamp() * 1e6)


STEADY = [(0.02, 1), (0.01, 3), (0.01, 6)]


@pytest.mark.parametrize("reuse", [True, False])
def test_rows_are_the_scripts_truth(tmp_path, reuse):
    result, rows, bodies = run(lambda *_: Script(STEADY), tmp_path, reuse_connections=reuse)
    assert isinstance(result, Done)
    assert {r["status"] for r in rows} == {"ok"}
    for row in rows:
        assert sum(row["chunk_tokens"] or [1] * len(row["chunk_dt_us"])) == 6
        assert (row["output_tokens"], row["untimed_tokens"], row["input_tokens"]) == (6, 0, 7)
        assert sum(row["chunk_dt_us"]) == us(row["last_token_at"]) - us(row["sent_at"])
        assert row["first_token_at"] >= row["sent_at"]
        assert row["ended_at"] >= row["last_token_at"]
        assert us(row["first_token_at"]) - us(row["sent_at"]) >= 19_000
        # The script sleeps 40 ms before its last token; a busy machine can only make that longer.
        assert us(row["last_token_at"]) - us(row["sent_at"]) >= 39_000
    assert len(bodies) == len(rows)
    assert all(b["ignore_eos"] and b["max_tokens"] == 6 and len(b["prompt"]) == 7 for b in bodies)
    assert all(b["stream_options"] == {"include_usage": True, "continuous_usage_stats": True} for b in bodies)
    assert len({tuple(b["prompt"]) for b in bodies}) == len(bodies), "a prompt was repeated"
    assert result.window_end_us - result.window_start_us >= 1_000_000
    assert result.completed > 10
    assert result.failed == 0
    assert result.in_flight_fraction > 0.9


def test_prompts_come_from_the_seeds_alone(tmp_path):
    prompts = []
    for seed in (2, 2, 3):
        _, _, bodies = run(lambda *_: Script(STEADY), tmp_path / f"{len(prompts)}", prompt_seed=seed, concurrency=1)
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
        (Script(STEADY, end="close"), "broken", ""),
        (Script(STEADY, end="garbage"), "broken", "not an event"),
        (Script(STEADY, end="stall"), "timeout", "no whole answer in 0.5 s"),
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
    assert len(rows) < 50


def test_requests_that_do_not_end_in_the_drain_are_cancelled_rows(tmp_path):
    result, rows, _ = run(lambda _, n: Script(STEADY, end="stall") if n > 40 else Script(STEADY), tmp_path, drain_s=0.3)
    assert isinstance(result, Done)
    assert [r["status"] for r in rows].count("cancelled") >= 1
    assert "not_steady" not in result.reasons


def test_the_client_ends_with_its_agent(tmp_path):
    with ScriptedServer(lambda *_: Script(STEADY)) as server:
        client = ClientProcess.start(job(server, tmp_path, window_s=600.0))
        client._process.stdin.close()
        assert client._process.wait(30) == 3
