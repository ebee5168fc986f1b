"""The parts of the client that keep time, count, merge and decide."""

import asyncio
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.agents.client import worker as worker_module
from joulemark.agents.client.address import Address
from joulemark.agents.client.answer import Answer
from joulemark.agents.client.health import BEAT_NS, LoopHealth
from joulemark.agents.client.job import Begin, EndedRequest
from joulemark.agents.client.merge import most_at_once, overlap_us
from joulemark.agents.client.pacer import Pacer
from joulemark.agents.client.processes import processes_for
from joulemark.agents.client.rows import RequestRows
from joulemark.agents.client.search import Level, levels
from joulemark.agents.client.steadiness import growth
from joulemark.agents.clock import NodeClock
from joulemark.agents.spool.seal import seal_together
from joulemark.agents.spool.segment import SegmentWriter, read_segment
from joulemark.warehouse.errors import BadInput, DiskFull
from joulemark.warehouse.schema.traces import REQUESTS
from joulemark.warehouse.store.location import Warehouse
from joulemark.workloads.traffic import Request
from joulemark.workloads.workload import Arrivals, Length, Load, Workload

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from raw_server import job
from scripted_server import Script, ScriptedServer

CLOCK = NodeClock("boot", 1_000, 1_700_000_000_000_000_500)


# Time.


def test_the_pacer_resumes_in_order_and_never_early():
    async def main():
        pacer, woken = Pacer(), []
        pacer.start()
        begin_ns = time.monotonic_ns()

        async def wait(delay_ms):
            due_ns = begin_ns + delay_ms * 1_000_000
            await pacer.until(due_ns)
            woken.append((delay_ms, time.monotonic_ns() - due_ns))

        await asyncio.gather(*(wait(d) for d in (30, 10, 20, 10, 0)))
        sleeper = asyncio.create_task(pacer.until(begin_ns + 10**12))
        await asyncio.sleep(0)
        pacer.wake()
        await asyncio.wait_for(sleeper, 5)
        pacer.stop()
        return woken

    woken = asyncio.run(main())
    assert [delay for delay, _ in woken] == [0, 10, 10, 20, 30]
    assert all(late >= 0 for _, late in woken)


def test_a_stall_is_as_many_late_beats_as_it_lasted():
    async def main():
        health = LoopHealth()
        health.start()
        await asyncio.sleep(0.1)
        start_ns, used_ns = time.monotonic_ns(), time.process_time_ns()
        while time.monotonic_ns() < start_ns + 200_000_000:
            continue
        await asyncio.sleep(0.05)
        end_ns, used_ns = time.monotonic_ns(), time.process_time_ns() - used_ns
        await asyncio.sleep(0.05)
        health.stop()
        return health, start_ns, end_ns, used_ns

    health, start_ns, end_ns, used_ns = asyncio.run(main())
    lag_us, cpu = health.result(start_ns, end_ns)
    late = [n for n, due in zip(health._late_ns, health._due_ns, strict=True) if start_ns <= due < end_ns]
    assert len(late) == pytest.approx((end_ns - start_ns) / BEAT_NS, abs=1)
    assert sum(n > 10_000_000 for n in late) >= 18
    assert lag_us > 150_000
    assert cpu * (end_ns - start_ns) == pytest.approx(used_ns, abs=20_000_000)


# Rows.


def answers():
    read = st.tuples(st.integers(0, 5_000_000), st.integers(1, 4))
    return st.lists(st.tuples(st.integers(0, 10**9), st.lists(read, max_size=6)), min_size=1, max_size=8)


@given(answers())
def test_rows_are_what_was_read(made):
    async def main():
        rows = RequestRows("t", "n", CLOCK)
        for number, (sent_ns, reads) in enumerate(made):
            answer = Answer(Request(number, [1], 1, 9, fixed_length=False), sent_ns)
            answer.sent_ns = now_ns = sent_ns
            for gap_ns, tokens in reads:
                now_ns += gap_ns
                answer.reads_ns.append(now_ns)
                answer.seen.append((answer.seen[-1] if answer.seen else 0) + tokens)
            answer.status, answer.ended_ns = "ok", now_ns
            rows.add(answer, number)
        return rows.take().to_pylist()

    got = asyncio.run(main())
    for row, (sent_ns, reads) in zip(got, made, strict=True):
        at_us = np.array([CLOCK.at_us(sent_ns + sum(g for g, _ in reads[: n + 1])) for n in range(len(reads))])
        assert row["chunk_dt_us"] == np.diff(at_us, prepend=CLOCK.at_us(sent_ns)).tolist()
        tokens = [tokens for _, tokens in reads]
        assert row["chunk_tokens"] == (None if all(t == 1 for t in tokens) else tokens)
        assert (row["first_token_at"] is None) == (not reads)


def test_segments_of_several_processes_become_one_trace(tmp_path):
    def segment(worker, numbers):
        writer = SegmentWriter(REQUESTS, tmp_path, f"requests-t-w{worker}")
        rows = RequestRows("t", "n", CLOCK)
        for number in numbers:
            answer = Answer(Request(number, [1], 1, 9, fixed_length=False), number)
            answer.sent_ns, answer.status = number, "ok"
            rows.add(answer, number)
        writer.write(rows.take())
        return writer.rotate()

    async def main():
        return [segment(0, (0, 2, 4)), segment(1, (1, 3))]

    warehouse = Warehouse.at(tmp_path / "warehouse")
    parts = asyncio.run(main())
    (tmp_path / "requests-t-w2.open").write_bytes(b"no head")
    trace = seal_together(warehouse, REQUESTS, [*parts, tmp_path / "requests-t-w2.open"], "requests/t.parquet")
    assert (trace.rows, trace.sums["request"]) == (5, 10)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["requests-t-w2.broken", "warehouse"]


def test_only_the_columns_that_are_wanted_are_read(tmp_path):
    writer = SegmentWriter(REQUESTS, tmp_path, "requests-t-w0")

    async def main():
        rows = RequestRows("t", "n", CLOCK)
        answer = Answer(Request(3, [1], 1, 9, fixed_length=False), 0)
        answer.status = "ok"
        rows.add(answer, 3)
        return rows.take()

    writer.write(asyncio.run(main()))
    table = read_segment(writer.rotate(), ("status", "request"))
    assert table.to_pylist() == [{"status": "ok", "request": 3}]


def test_a_full_disk_ends_the_load_at_once(tmp_path, monkeypatch):
    def no_space(*_):
        raise DiskFull("no space left")

    async def main(server):
        commands = asyncio.Queue()
        load = job(server.url, tmp_path, window_s=3600.0)
        commands.put_nowait(Begin(load.clock.now_us()))
        # No end is ever said: coming back at all is the proof.
        await worker_module.Worker(load, lambda _: None, commands).run()

    monkeypatch.setattr(worker_module.SegmentWriter, "write", no_space)
    with ScriptedServer(lambda *_: Script([(0.02, 1)])) as server, pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main(server))
    assert caught.value.split(DiskFull)[1] is None


# Figures.


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 30)), max_size=20), st.integers(0, 60), st.integers(1, 60)
)
def test_figures_of_intervals_are_those_of_counting(made, start, length):
    begin = np.array([a for a, _ in made], dtype=np.int64)
    end = begin + np.array([b for _, b in made], dtype=np.int64)
    at = [sum(a <= t < b for a, b in zip(begin, end, strict=True)) for t in range(start, start + length)]
    assert overlap_us(begin, end, start, start + length) == sum(at)
    assert most_at_once(begin, end, start, start + length) == max(at)


def served(rate, servers, service_s, window_s, seed=1):
    """Requests of a queue with so many servers: (scheduled, ended) in microseconds."""
    rng = np.random.default_rng(seed)
    due = np.cumsum(rng.exponential(1 / rate, int(rate * window_s)))
    free = [0.0] * servers
    ended = []
    for at in due:
        first = free.index(min(free))
        free[first] = max(at, free[first]) + service_s
        ended.append(free[first])
    return (due * 1e6).astype(np.int64), (np.array(ended) * 1e6).astype(np.int64)


@pytest.mark.parametrize(("load", "grows"), [(0.3, False), (0.8, False), (1.2, True), (2.0, True)])
def test_growth_is_told_from_chance(load, grows):
    found = [growth(*served(load * 16, 16, 1.0, 80.0, seed), 20_000_000, 80_000_000)[1] for seed in range(20)]
    assert sum(found) == (20 if grows else 0)


def test_growth_is_the_rise_of_what_is_outstanding():
    scheduled = np.arange(0, 100_000_000, 100_000)
    ended = scheduled + scheduled // 2
    rise, grows = growth(scheduled, ended, 0, 60_000_000)
    # At t, all are outstanding that were scheduled since t / 1.5: a third of t at 10 a second.
    assert rise == pytest.approx(200, rel=0.05)
    assert grows


# The search.


def test_levels_double_up_to_what_is_allowed():
    assert list(levels(50)) == [4, 8, 16, 32, 50]
    assert list(levels(3)) == [3]


def level(streams, duration_s, requests, answered=True):
    made = Level(streams, 0)
    made.take(
        tuple(
            EndedRequest(round((n // streams + 1) * duration_s * 1e6) + n, d := round(duration_s * 1e6), d, answered)
            for n in range(requests)
        )
    )
    return made


def test_the_rate_of_a_level_does_not_depend_on_when_requests_end_together():
    for requests in range(100, 116):
        made = level(8, 0.5, requests)
        assert made.rate_per_s == pytest.approx(16.0)


def test_a_level_is_held_for_seconds_and_durations():
    made = level(4, 5.0, 8)
    assert not made.is_over(100_000_000)
    made.take(tuple(EndedRequest(15_000_000 + n, 5_000_000, 5_000_000, True) for n in range(4)))
    assert not made.is_over(19_000_000)
    assert made.is_over(20_100_000)


def test_a_level_that_fails_sustains_nothing():
    assert level(4, 0.5, 100, answered=False).rate_per_s == 0.0


# Processes and addresses.


@pytest.mark.parametrize(
    ("workload", "cores", "processes"),
    [
        (Workload(7, 6, 1), 64, 1),
        (Workload(7, 6, 256), 64, 1),
        (Workload(7, 6, 1000), 64, 4),
        (Workload(7, 6, 1000), 8, 2),
        (Workload(7, 6, 1000), 2, 1),
        (Workload(7, 100, None, Arrivals("poisson", 400.0)), 64, 3),
        (Workload(7, Length("uniform", 1, 9), None, Arrivals("poisson", 400.0)), 64, 4),
        (Workload(7, 100, None, Arrivals("poisson"), load=Load(fraction=0.9)), 12, 3),
    ],
)
def test_as_many_processes_as_the_load_needs_and_the_machine_has(workload, cores, processes):
    asked = job("http://x", "/nowhere", workload)
    assert processes_for(asked, cores) == processes


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://host", Address("host", 80, False, "")),
        ("https://host/", Address("host", 443, True, "")),
        ("http://[::1]:8000/v1", Address("::1", 8000, False, "")),
        ("http://10.0.0.1:8000/some/base/v1/", Address("10.0.0.1", 8000, False, "/some/base")),
    ],
)
def test_addresses(url, address):
    assert Address.parse(url) == address


def test_a_key_of_two_lines_is_refused():
    with pytest.raises(BadInput, match="line"):
        Address.parse("http://host").head("/v1/completions", {"Authorization": "Bearer a\r\nX: y"})


def test_files_are_not_the_limit():
    soft_before = os.sysconf("SC_OPEN_MAX")
    from joulemark.agents.client.connections import files_allowed

    assert files_allowed() >= min(soft_before, 64) - 64
