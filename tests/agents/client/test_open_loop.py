"""Open loop: absolute deadlines, debt that is kept, and what is said of a load that could not be served."""

import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from joulemark.agents.client.conductor import Conductor
from joulemark.agents.client.job import Broken, Done
from joulemark.workloads.traffic import Tables, make_traffic
from joulemark.workloads.workload import Arrivals, Conversation, Load, Stretch, Workload

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from raw_server import RawServer, job, rows_of, run, us, whole
from scripted_server import Script, ScriptedServer

QUICK = [(0.02, 1), (0.01, 3), (0.01, 6)]


def asked(process="poisson", rate=40.0, **more):
    return Workload(
        7, 6, None, Arrivals(process, rate, more.pop("burstiness", None), more.pop("stretches", ())), **more
    )


def scripted(tmp_path, workload, **changes):
    with ScriptedServer(lambda *_: Script(QUICK)) as server:
        result = Conductor.start(job(server.url, tmp_path, workload, **changes)).result(lambda _: None)
    return result, rows_of(tmp_path)


def due_s(workload, count):
    traffic = make_traffic(workload, prompt_seed=2, vocab_size=500, tables=Tables())
    return [due for due, _ in zip(traffic.due_s(), range(count), strict=False)]


@pytest.mark.parametrize(("process", "processes"), [("poisson", 1), ("constant", 1), ("gamma", 2)])
def test_requests_are_scheduled_to_the_microsecond(tmp_path, process, processes):
    workload = asked(process, burstiness=0.5 if process == "gamma" else None)
    result, rows = scripted(tmp_path, workload, processes=processes, window_s=1.0)
    assert isinstance(result, Done)
    assert [r["request"] for r in rows] == list(range(len(rows))), "a request of the schedule is missing"
    at = np.array([us(r["scheduled_at"]) for r in rows])
    due = np.array(due_s(workload, len(rows)))
    assert np.abs((at - at[0]) - (due - due[0]) * 1e6).max() <= 2
    assert all(r["sent_at"] >= r["scheduled_at"] for r in rows)
    inside = [r for r in rows if result.window_start_us <= us(r["scheduled_at"]) < result.window_end_us]
    window_s = (result.window_end_us - result.window_start_us) / 1e6
    assert result.rate_asked_per_s == pytest.approx(len(inside) / window_s)
    assert result.rate_achieved_per_s == pytest.approx(result.rate_asked_per_s, abs=2 / window_s)
    assert result.in_flight_fraction is None
    late = [us(r["sent_at"]) - us(r["scheduled_at"]) for r in inside]
    assert result.late_p99_us <= max(late)
    too_late = sum(us > 5000 for us in late)
    assert ("schedule_late" in result.reasons) == (too_late > max(1, 0.01 * len(late)))


def test_debt_is_kept_and_said(tmp_path):
    """Two connections that each take 50 ms: 40 requests a second become due and 40 can be sent; then one takes long."""

    def answer(connection, asked):
        time.sleep(0.4 if asked.number == 20 else 0.01)
        connection.sendall(whole())

    with RawServer(answer) as server:
        result, rows = run(server.url, tmp_path, asked("constant", 40.0), max_connections=1, window_s=2.0)
    assert isinstance(result, Done)
    assert [r["request"] for r in rows] == list(range(len(rows)))
    at = [us(r["scheduled_at"]) for r in rows]
    assert {round((b - a) / 1000) for a, b in pairwise(at)} == {25}
    late = max(us(r["sent_at"]) - us(r["scheduled_at"]) for r in rows)
    assert late > 300_000
    assert "schedule_late" in result.reasons
    assert result.backlog_max >= 10
    assert result.in_flight_max == 1


def test_a_load_beyond_what_is_served_is_not_steady(tmp_path):
    def answer(connection, _):
        time.sleep(0.1)
        connection.sendall(whole())

    with RawServer(answer) as server:
        # 4 connections serve 40 a second.
        result, rows = run(server.url, tmp_path, asked("constant", 80.0), max_connections=4, window_s=2.0, drain_s=0.3)
    assert isinstance(result, Done)
    assert "not_steady" in result.reasons
    assert result.outstanding_growth == pytest.approx(80, rel=0.5)
    assert result.rate_achieved_per_s < 0.7 * result.rate_asked_per_s
    # What was due and could not be sent is there all the same.
    due = [r for r in rows if us(r["scheduled_at"]) < result.window_end_us]
    unsent = [r for r in rows if r["error"] == "not sent before the trial ended"]
    assert len(due) == len(rows)
    assert {r["status"] for r in unsent} == {"cancelled"}
    assert len(unsent) > 30
    assert [r["request"] for r in rows] == list(range(len(rows)))


def test_the_window_of_a_schedule_is_the_schedule_after_the_warm_up(tmp_path):
    workload = asked("poisson", None, stretches=(Stretch(10.0, 60.0, 1.0), Stretch(60.0, 60.0, 0.5)))
    result, rows = scripted(tmp_path, workload, warmup_s=0.3, window_s=30.0)
    assert isinstance(result, Done)
    assert result.window_end_us - result.window_start_us == pytest.approx(1_200_000, abs=2)
    assert "not_steady" not in result.reasons
    assert len(rows) == len(due_s(workload, 10_000))


def test_a_schedule_that_is_shorter_than_its_warm_up(tmp_path):
    workload = asked("constant", None, stretches=(Stretch(10.0, 10.0, 0.5),))
    result, _ = scripted(tmp_path, workload, warmup_s=1.0)
    assert isinstance(result, Broken)
    assert "0.5 s is over within the warm-up of 1 s" in result.error


@pytest.mark.parametrize("open_loop", [True, False])
def test_a_conversation_goes_on_after_its_pause(tmp_path, open_loop):
    talk = Conversation(3, 0.05)
    workload = asked("constant", 10.0, conversation=talk) if open_loop else Workload(7, 6, 2, conversation=talk)
    result, rows = scripted(tmp_path, workload, window_s=1.0)
    assert isinstance(result, Done)
    by_number = {r["request"]: r for r in rows}
    later = [r for r in rows if r["request"] % 3]
    assert later
    for row in later:
        before = by_number[row["request"] - 1]
        assert us(row["scheduled_at"]) - us(before["ended_at"]) == pytest.approx(50_000, abs=2)
        assert row["asked_input_tokens"] > before["asked_input_tokens"]
    if not open_loop:
        assert result.in_flight_fraction > 0.9, "pauses are part of the load"


def slots(count, answer_s):
    """Answer as an engine with so many slots."""
    free = threading.Semaphore(count)

    def answer(connection, _):
        with free:
            time.sleep(answer_s)
        connection.sendall(whole())

    return answer


def test_a_fraction_of_the_highest_rate(tmp_path):
    workload = asked("poisson", None, load=Load(fraction=0.5), max_in_flight=16)
    with RawServer(slots(4, 0.1)) as server:
        result, rows = run(server.url, tmp_path, workload, window_s=2.0)
    assert isinstance(result, Done)
    # Sleeping 100 ms takes a little longer, the more so on a busy machine.
    assert 25 < result.highest_rate_per_s <= 41
    own = [r for r in rows if r["request"] < 1 << 30]
    searched = [r for r in rows if r["request"] >= 1 << 30]
    assert len(searched) > 50
    at = [us(r["scheduled_at"]) for r in own]
    asked_rate = (len(own) - 1) / (max(at) - min(at)) * 1e6
    assert asked_rate == pytest.approx(result.highest_rate_per_s / 2, rel=0.4)
    prompts = [tuple(a.body["prompt"]) for a in server.asked]
    assert len(set(prompts)) == len(prompts), "the search had the engine see a prompt of the measurement"


def test_a_known_highest_rate_is_not_searched_again(tmp_path):
    workload = asked("constant", None, load=Load(fraction=0.5), max_in_flight=16)
    result, rows = scripted(tmp_path, workload, highest_rate_per_s=80.0, window_s=1.0)
    assert isinstance(result, Done)
    assert result.highest_rate_per_s == 80.0
    assert max(r["request"] for r in rows) < 1 << 30
    assert result.rate_asked_per_s == pytest.approx(40, abs=2)


def test_a_deployment_that_never_answers_has_no_highest_rate(tmp_path):
    workload = asked("poisson", None, load=Load(fraction=0.5), max_in_flight=16)
    with ScriptedServer(lambda *_: Script([], status=503)) as server:
        result, _ = run(server.url, tmp_path, workload)
    assert isinstance(result, Broken)
    assert "HTTP 503" in result.error
