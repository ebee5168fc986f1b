"""Rows of the client against the script's truth. What is known of time: nothing arrives before it left.

How late the client saw things is bounded by what the server itself recorded; only medians have limits of their own,
which are generous, since tests run on machines that do other things.
"""

import json
import time

import numpy as np
import pytest
from answers import Answer, Step, steady
from client_run import run, us

from joulemark.agents.client.job import Done
from joulemark.agents.clock import NodeClock
from joulemark.workloads.workload import Workload

TOKENS = 16
SEVERAL = (Step(0.05, 1), Step(0.03, 3), Step(0.04, 1), Step(0.02, 4), Step(0.0, 2), Step(0.03, 5))
LATE_MEDIAN_AT_MOST_US = 20_000
SIXTEEN = Workload(7, TOKENS, 3, seed=1)

ANSWERS = {
    "one by one": Answer(steady(16, 0.01, ttft_s=0.04)),
    "several tokens": Answer(SEVERAL),
    "as llama.cpp": Answer(SEVERAL, counts="timings"),
    "no text": Answer((Step(0.03, 2, text=""), Step(0.02, 1, text=""), Step(0.02, 13, text="é"))),
    "one frame a write": Answer(SEVERAL, frames="write"),
    "cut into pieces": Answer((Step(0.03), Step(0.03, 2), Step(0.03, 13)), cut_every=97),
    "cut into bytes": Answer((Step(0.03), Step(0.01, 15)), cut_every=1, cut_gap_s=0.0),
    "usage comes later": Answer(SEVERAL, tail_s=0.03),
    "no gaps at all": Answer((Step(0.05, 1), *[Step(0.0, 1)] * 15)),
}
ODD = {
    # answer, timed tokens, untimed tokens, what the engine counts
    "nothing is counted": (Answer(steady(16, 0.01), counts="none"), 0, 16, 16),
    "more than was timed": (Answer(steady(14, 0.01), output_tokens=16), 14, 2, 16),
    "fewer than were timed": (Answer(steady(17, 0.01), output_tokens=16), 17, 0, 16),
}


def hold_tokens(pair):
    """Every token is in a chunk, in the chunks' order; the chunks' ends are ends of events."""
    row, answer = pair.row, pair.played.answer
    assert sum(pair.counts) == answer.tokens == pair.played.tokens
    assert pair.chunk_of_event[-1] == len(pair.counts) - 1
    assert (row["output_tokens"], row["input_tokens"], row["untimed_tokens"]) == (TOKENS, answer.input_tokens, 0)
    assert (row["asked_input_tokens"], row["asked_output_tokens"]) == (7, TOKENS)
    assert row["error"] is None


def hold_instants(pair):
    """Nothing is seen before it happened, and the row's instants are in their order."""
    row, played, clock = pair.row, pair.played, pair.clock
    assert row["scheduled_at"] <= row["sent_at"] <= row["first_token_at"] <= row["last_token_at"] <= row["ended_at"]
    assert pair.sent_us <= clock.at_us(played.began_ns)
    assert us(row["first_token_at"]) == pair.arrivals_us[0]
    assert us(row["last_token_at"]) == pair.arrivals_us[-1]
    assert (pair.late_us >= 0).all()
    assert us(row["ended_at"]) >= clock.at_us(int(played.written_ns[-1]))


WAYS = {
    "kept connections": {},
    "new connections": {"reuse_connections": False},
    "two processes": {"processes": 2},
}


@pytest.fixture(scope="module", params=WAYS.values(), ids=WAYS)
def mixed(request, playing, tmp_path_factory):
    """One run in which requests get all answers by turns."""
    with playing(*ANSWERS.values(), order=range(len(ANSWERS))) as server:
        told = run(
            server,
            tmp_path_factory.mktemp("spool"),
            Workload(7, TOKENS, 8, seed=1),
            window_s=2.0,
            **request.param,
        )
    assert isinstance(told.result, Done)
    return told, request.param


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_tokens_and_instants_are_the_scripts(mixed, answer):
    told, _ = mixed
    pairs = [p for p in told.pairs if p.played.answer is answer]
    assert len(pairs) > 4
    for pair in pairs:
        assert pair.row["status"] == "ok"
        hold_tokens(pair)
        hold_instants(pair)


def test_every_request_has_one_row_and_connections_are_kept_or_not(mixed):
    told, way = mixed
    assert len(told.pairs) == len(told.truth)
    assert np.median(told.late_us) < LATE_MEDIAN_AT_MOST_US
    connections = {p.played.connection for p in told.pairs}
    assert len(connections) == (8 if way.get("reuse_connections", True) else len(told.pairs))
    assert told.result.processes == len(told.result.segments) == way.get("processes", 1)
    assert told.result.resent == 0


def test_times_of_a_request_are_the_servers_within_what_it_was_late(playing, tmp_path):
    """TTFT, end to end and gaps of each request: the server's own, plus how late the client saw each end of them."""
    with playing(Answer(SEVERAL)) as server:
        told = run(server, tmp_path, SIXTEEN)
    for pair in told.ok:
        played, late_us = pair.played, pair.late_us
        left_us = played.events[0] / 1e3
        ttft_us = us(pair.row["first_token_at"]) - pair.sent_us
        e2e_us = us(pair.row["last_token_at"]) - pair.sent_us
        on_the_way_us = pair.clock.at_us(played.read_ns) - pair.sent_us
        assert 0 <= ttft_us - (left_us[0] - played.read_ns / 1e3) == pytest.approx(on_the_way_us + late_us[0], abs=3)
        assert 0 <= e2e_us - (left_us[-1] - played.read_ns / 1e3) == pytest.approx(on_the_way_us + late_us[-1], abs=3)
        # The script asks for 50 ms and for 170 ms; no wrong formula would come near.
        assert ttft_us >= 50_000
        assert e2e_us >= 170_000
    ways_us = [p.clock.at_us(p.played.read_ns) - p.sent_us for p in told.ok]
    assert np.median(ways_us) < LATE_MEDIAN_AT_MOST_US


def test_a_client_on_another_node_keeps_that_node_s_clock(playing, tmp_path):
    """An hour ahead: rows, window and their order are that clock's, and name its node."""
    ahead_ns = 3600 * 10**9
    clock = NodeClock("another boot", time.monotonic_ns(), time.time_ns() + ahead_ns)
    with playing(Answer(steady(TOKENS, 0.005))) as server:
        told = run(server, tmp_path, SIXTEEN, clock=clock, node="elsewhere")
    assert {p.row["node"] for p in told.pairs} == {"elsewhere"}
    for pair in told.ok:
        hold_tokens(pair)
        hold_instants(pair)
    ends_us = [us(p.row["ended_at"]) for p in told.ok]
    assert told.result.completed == sum(told.result.window_start_us <= e < told.result.window_end_us for e in ends_us)
    assert told.result.window_start_us > (time.time_ns() + ahead_ns / 2) / 1e3


def test_what_the_engine_says_beside_the_tokens_is_kept(playing, tmp_path):
    speculated = {"completion_tokens_details": {"accepted_prediction_tokens": 2, "reasoning_tokens": 3}}
    told_all = Answer(steady(6, 0.01), input_tokens=9, cached_tokens=4, usage_more=speculated, finish_reason="stop")
    with playing(told_all, Answer(steady(6, 0.01)), order=(0, 1)) as server:
        told = run(server, tmp_path)
    names = ("input_tokens", "cached_tokens", "reasoning_tokens", "accepted_draft_tokens", "finish_reason")
    by_answer = {p.played.answer is told_all: tuple(p.row[n] for n in names) for p in told.ok}
    assert by_answer == {True: (9, 4, 3, 2, "stop"), False: (7, None, None, None, "length")}


def test_what_cannot_be_timed_and_what_does_not_add_up(playing, tmp_path):
    with playing(*(odd[0] for odd in ODD.values()), order=range(len(ODD))) as server:
        told = run(server, tmp_path, SIXTEEN)
    for answer, timed, untimed, counted in ODD.values():
        pairs = [p for p in told.ok if p.played.answer is answer]
        assert len(pairs) > 2
        for pair in pairs:
            assert sum(pair.counts) == timed
            assert (pair.row["untimed_tokens"], pair.row["output_tokens"]) == (untimed, counted)
            assert (pair.row["first_token_at"] is None) == (timed == 0)


def test_a_late_server_is_not_a_late_client(playing, tmp_path):
    """A server with one slot: its queue is in the TTFT, and the client saw every chunk when it left."""
    with playing(Answer(steady(TOKENS, 0.004)), slots=1) as server:
        told = run(server, tmp_path, SIXTEEN)
    waits_us = [(p.played.started_ns - p.played.read_ns) / 1e3 for p in told.ok]
    assert np.median(waits_us) > 50_000
    for pair, wait_us in zip(told.ok, waits_us, strict=True):
        hold_tokens(pair)
        hold_instants(pair)
        assert us(pair.row["first_token_at"]) - pair.sent_us >= wait_us
    assert np.median(told.late_us) < LATE_MEDIAN_AT_MOST_US


def test_requests_are_what_was_asked_and_no_prompt_comes_twice(playing, tmp_path):
    with playing(Answer(steady(6, 0.01))) as server:
        told = run(server, tmp_path)
    bodies = [json.loads(p.played.body) for p in told.pairs]
    assert all(b["max_tokens"] == 6 and b["stream"] and b["ignore_eos"] and b["model"] == "tiny" for b in bodies)
    assert all(b["stream_options"] == {"include_usage": True, "continuous_usage_stats": True} for b in bodies)
    assert len({tuple(b["prompt"]) for b in bodies}) == len(bodies)
