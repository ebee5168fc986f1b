"""Open loop against the scripted server: the schedule is kept to the microsecond, and its debt is never forgiven."""

import numpy as np
import pytest
from answers import Answer, steady
from client_run import run, us

from joulemark.agents.client.job import Done
from joulemark.workloads.traffic import Tables, make_traffic
from joulemark.workloads.workload import Arrivals, Workload

RATE_PER_S = 80.0
QUICK = Answer(steady(6, 0.01))
LATE_MEDIAN_AT_MOST_US = 20_000


def workload(process, **more):
    return Workload(7, 6, None, Arrivals(process, RATE_PER_S, **more), seed=3)


def due_us(asked, count):
    """When requests are due since the load's begin, by the traffic itself."""
    due = make_traffic(asked, prompt_seed=2, vocab_size=500, tables=Tables()).due_s()
    return np.array([round(next(due) * 1e9) for _ in range(count)]) // 1000


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    "asked",
    [workload("constant"), workload("poisson"), workload("gamma", burstiness=0.25)],
    ids=lambda w: w.arrivals.process,
)
def test_requests_are_due_when_the_traffic_says_and_come_once(playing, tmp_path, asked, processes):
    with playing(QUICK) as server:
        told = run(server, tmp_path, asked, window_s=1.5, processes=processes)
    assert isinstance(told.result, Done)
    rows = [p.row for p in told.pairs]
    assert [r["request"] for r in rows] == list(range(len(rows)))
    assert len(rows) > 60
    due = due_us(asked, len(rows))
    scheduled = np.array([us(r["scheduled_at"]) for r in rows])
    # Both are rounded to microseconds.
    assert (np.abs((scheduled - scheduled[0]) - (due - due[0])) <= 1).all()
    for pair in told.pairs:
        assert pair.row["status"] == "ok"
        assert len(pair.attempts) == 1
        assert us(pair.row["scheduled_at"]) <= pair.sent_us <= pair.clock.at_us(pair.played.began_ns)
    late_us = [p.sent_us - us(p.row["scheduled_at"]) for p in told.pairs]
    assert np.median(late_us) < LATE_MEDIAN_AT_MOST_US
    inside = (scheduled >= told.result.window_start_us) & (scheduled < told.result.window_end_us)
    seconds = (told.result.window_end_us - told.result.window_start_us) / 1e6
    assert told.result.rate_asked_per_s == pytest.approx(inside.sum() / seconds)


def test_a_debt_is_kept_and_said(playing, tmp_path):
    """Two connections serve half of the rate: requests go later and later, and are due when they always were."""
    slow = Answer(steady(6, 0.01))
    asked = workload("constant")
    with playing(slow) as server:
        told = run(server, tmp_path, asked, window_s=1.5, max_connections=2)
    assert isinstance(told.result, Done)
    assert {"schedule_late", "not_steady"} <= set(told.result.reasons)
    scheduled = np.array([us(p.row["scheduled_at"]) for p in told.pairs])
    due = due_us(asked, len(scheduled))
    assert (np.abs((scheduled - scheduled[0]) - (due - due[0])) <= 1).all(), "a deadline was moved or dropped"
    assert scheduled[-1] >= told.result.window_end_us - 1.1e6 / RATE_PER_S, "due requests are missing"
    sent = [p for p in told.pairs if p.attempts]
    unsent = [p for p in told.pairs if not p.attempts]
    assert len(sent) + len(unsent) == len(told.pairs)
    assert unsent
    assert {p.row["status"] for p in unsent} == {"cancelled"}
    late_us = [p.sent_us - us(p.row["scheduled_at"]) for p in sent]
    assert late_us[-1] > 300_000
    assert told.result.backlog_max > 10
    assert told.result.rate_achieved_per_s < 0.8 * told.result.rate_asked_per_s
    assert len({p.played.connection for p in sent}) == 2


def test_a_queue_in_the_server_is_growing_backlog_and_no_late_client(playing, tmp_path):
    with playing(QUICK, slots=2) as server:
        told = run(server, tmp_path, workload("constant"), window_s=1.5)
    assert "not_steady" in told.result.reasons
    assert told.result.outstanding_growth > 10
    for pair in told.pairs:
        assert pair.sent_us <= pair.clock.at_us(pair.played.began_ns)
    waits_ms = [(p.played.started_ns - p.played.read_ns) / 1e6 for p in told.ok]
    assert max(waits_ms) > 300
    late_us = [p.sent_us - us(p.row["scheduled_at"]) for p in told.pairs]
    assert np.median(late_us) < LATE_MEDIAN_AT_MOST_US
