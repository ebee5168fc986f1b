"""Every way for a server to fail is a row with a status of its own, and the load goes on."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from answers import Answer, Step, steady
from client_run import job, rows_of, run

from joulemark.agents.client.conductor import Conductor
from joulemark.agents.client.job import Broken, Done
from joulemark.workloads.workload import Workload

TIMEOUT_S = 3.0
"""Longer than a busy machine delays an answer."""
GOOD = Answer(steady(6, 0.01))
PARTLY = {"steps": steady(6, 0.01), "stop_after": 2, "tail_s": 0.01}
EVENT = b'data: {"error": {"message": "the engine is unwell", "code": 500}}\n\n'

FAULTS = {
    "429": (Answer.refusal(429, Retry_After="1"), "failed", "429"),
    "500": (Answer.refusal(500), "failed", "scripted refusal"),
    "503 late": (Answer.refusal(503, after_s=0.05), "failed", "503"),
    "closes before the head": (Answer(no_head=True, tail_s=0.02, ends="close"), "broken", ""),
    "resets before the head": (Answer(no_head=True, tail_s=0.02, ends="reset"), "broken", ""),
    "closes in the stream": (Answer(**PARTLY, ends="close"), "broken", ""),
    "resets in the stream": (Answer(**PARTLY, ends="reset"), "broken", ""),
    "ends early": (Answer(**PARTLY), "broken", "[DONE]"),
    "is truncated": (Answer(steady(4, 0.01), finish_reason="stop"), "truncated", ""),
    "no [DONE]": (Answer(steady(6, 0.01), done=False), "broken", "[DONE]"),
    "no usage": (Answer(steady(6, 0.01), counts="none", final_usage=False), "broken", "usage"),
    "garbage": (Answer(**PARTLY, last_words=b"data: {what is this\n\n", ends="close"), "broken", "not an event"),
    "garbage in bytes": (Answer(**PARTLY, last_words=b"data: \xff\xfe\n\n", ends="close"), "broken", "not an event"),
    "garbage in the frames": (Answer(**PARTLY, last_raw=b"zz\r\nwhat?\r\n", ends="close"), "broken", ""),
    "an error in the stream": (Answer(**PARTLY, last_words=EVENT + b"data: [DONE]\n\n"), "failed", "unwell"),
    "stalls before the head": (Answer(no_head=True, ends="stall"), "timeout", "3 s"),
    "stalls in the stream": (Answer(**PARTLY, ends="stall"), "timeout", "3 s"),
}


def cut(fault):
    """Return the same fault, byte by byte."""
    return replace(fault, cut_every=1, cut_gap_s=0.0)


@pytest.fixture(scope="module", params=["whole", "in bytes"])
def faulty(request, playing, tmp_path_factory):
    """One run in which every second request meets a fault, all faults by turns; each comes with its own."""
    plain = [fault for fault, _, _ in FAULTS.values()]
    faults = plain if request.param == "whole" else [cut(f) for f in plain]
    order = [i for n in range(1, len(faults) + 1) for i in (0, n)]
    with playing(GOOD, *faults, order=order) as server:
        told = run(
            server,
            tmp_path_factory.mktemp("spool"),
            Workload(7, 6, 24, seed=1),
            window_s=5.0,
            request_timeout_s=TIMEOUT_S,
        )
    assert isinstance(told.result, Done)
    assert told.result.failed > 0
    return told, dict(zip(FAULTS, faults, strict=True))


def before_the_head(answer):
    """Whether its connection ends before a byte: as if it had been closed before the request, which then goes again."""
    return answer.no_head and answer.ends in ("close", "reset")


def test_only_what_was_never_answered_is_sent_again_and_that_once(faulty):
    told, _ = faulty
    twice = [p for p in told.pairs if len(p.attempts) > 1]
    assert len(twice) == told.result.resent > 0
    for pair in twice:
        first, second = pair.attempts
        assert before_the_head(first.answer)
        assert first.nth > 0, "it had a connection of its own"
        assert second.nth == 0
        assert pair.sent_us <= pair.clock.at_us(first.began_ns)


def hold_what_came(pair):
    """Tokens that came before the fault are kept. A reset takes those along that the client has not read yet."""
    played = pair.attempts[-1]
    if played.answer.counts == "none":
        assert pair.counts == []
    elif played.answer.ends == "reset":
        assert sum(pair.counts) <= played.tokens
    else:
        assert sum(pair.counts) == played.tokens
        assert (pair.late_us >= 0).all()


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_a_row(faulty, name):
    told, faults = faulty
    _, status, words = FAULTS[name]
    pairs = [p for p in told.pairs if p.attempts[-1].answer is faults[name]]
    assert pairs
    for pair in pairs:
        assert len(pair.attempts) == 1 or before_the_head(pair.attempts[0].answer), "a request was sent twice"
        assert pair.row["status"] == status, pair.row["error"]
        assert words in pair.row["error"]
        hold_what_came(pair)
        assert pair.row["ended_at"] >= pair.row["sent_at"]


def test_requests_between_faults_are_whole(faulty):
    told, _ = faulty
    good = [p for p in told.pairs if p.attempts[-1].answer is GOOD]
    assert len(good) > 50
    assert {(p.row["status"], sum(p.counts)) for p in good} == {("ok", 6)}
    for pair in good:
        assert pair.row["error"] is None if len(pair.attempts) == 1 else "sent again" in pair.row["error"]


@pytest.mark.parametrize("reuse", [True, False])
def test_a_server_that_announces_keep_alive_and_closes(playing, tmp_path, reuse):
    """Nothing fails: a connection that the server has closed is noticed, or the request goes again."""
    with playing(Answer(steady(6, 0.01), ends="close")) as server:
        told = run(server, tmp_path, reuse_connections=reuse)
    assert {p.row["status"] for p in told.pairs} == {"ok"}
    assert len({p.played.connection for p in told.ok}) == len(told.ok) > 10


def test_refusals_alone_are_said_and_not_hammered(playing, tmp_path):
    with playing(Answer.refusal(503)) as server:
        told = run(server, tmp_path)
    assert isinstance(told.result, Broken)
    assert "503" in told.result.error
    assert len(told.truth) < 50


def test_a_server_that_dies_ends_the_trial(playing, tmp_path):
    with playing(Answer(steady(202, 0.02))) as server:
        timer = threading.Timer(1.5, server.kill)
        timer.start()
        asked = job(server, tmp_path, Workload(7, 202, 3, seed=1), window_s=3.0)
        result = Conductor.start(asked).result(lambda _: None)
        timer.join()
    assert isinstance(result, Broken)
    rows = rows_of(tmp_path).to_pylist()
    assert len(rows) > 3
    assert {r["status"] for r in rows} == {"broken"}
    assert max(len(r["chunk_dt_us"]) for r in rows) > 10


def test_backpressure_is_the_clients_and_not_the_servers(playing, tmp_path):
    """A megabyte in one answer: nothing is lost however it is read."""
    with playing(Answer(tuple(Step(0.0, text="x" * 20_000) for _ in range(50)))) as server:
        told = run(server, tmp_path, Workload(7, 50, 3, seed=1))
    assert len(told.ok) == len(told.pairs)
    assert all(sum(p.counts) == 50 for p in told.ok)
    assert np.min(told.late_us) >= 0
