"""kill -9 at many moments; ``python benchmarks/kills.py`` does it at hundreds."""

import contextlib
import itertools
import os
import signal
import sys
import time

import killing
import pyarrow.parquet as pq
import pytest

from joulemark.agents.sampler.process import RESTART_S, SamplerProcess
from joulemark.agents.sampler.protocol import SamplerConfig
from joulemark.agents.spool.recover import rings
from joulemark.warehouse.errors import MeterError


@pytest.mark.parametrize("moment", range(12))
def test_a_killed_sampler_loses_nothing(tmp_path, moment):
    sampler = killing.Sampler.start(tmp_path, batch_s=(1.0, 0.005)[moment % 2])
    sampler.wait_for_readings(1 + 97 * moment)
    if moment % 3 == 0:
        sampler.rotate()
    time.sleep(0.0137 * moment % 0.05)
    sampler.kill()
    assert killing.whole(sampler.left(), sampler.ledger)


def test_without_its_ring_it_loses_a_second_at_most(tmp_path):
    sampler = killing.Sampler.start(tmp_path)
    sampler.wait_for_readings()
    begun = time.monotonic()
    time.sleep(2.4)
    sampler.kill()
    lived_s = time.monotonic() - begun
    for ring in rings(sampler.spool):
        ring.unlink()
    numbers = sampler.left()
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    lost = sampler.ledger.recorded - len(numbers)
    # Readings per second as they really came: a busy machine takes fewer.
    assert lost <= 1.5 * sampler.ledger.recorded / lived_s


@pytest.mark.parametrize("moment", range(4))
def test_a_killed_agent_loses_nothing(tmp_path, moment):
    agent = killing.agent_to_kill(tmp_path, batch_s=(1.0, 0.005)[moment % 2])
    killing.wait_until(lambda: any(killing.Ledger(p).recorded for p in tmp_path.glob("ledger-*")))
    time.sleep(0.31 * moment)
    os.kill(agent, signal.SIGKILL)
    os.waitpid(agent, 0)
    killing.power_trace(tmp_path).close()
    samplers = killing.sealed(tmp_path)
    assert len(samplers) == 2
    assert all(killing.whole(numbers, ledger) for ledger, numbers in samplers.values())
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_sampler_killed_in_mid_trial_comes_back_and_the_gap_is_in_the_data(tmp_path):
    trace = killing.power_trace(tmp_path)
    try:
        first = trace.sampler._serving
        killing.wait_until(lambda: any(killing.Ledger(p).recorded > 50 for p in tmp_path.glob("ledger-*")))
        first.process.kill()
        killing.wait_until(lambda: trace.sampler._serving not in (None, first))
        assert trace.sampler.restarts == 1
        assert trace.sampler.timings["counting"].every_s == killing.EVERY_S
        traces = trace.seal()
    finally:
        trace.close()
    parts = [t for t in traces if t.dataset == "power"]
    assert len(parts) >= 2, "what the dead sampler left belongs to the trial too"
    ends = sorted((t.first_us, t.last_us) for t in parts)
    t = sorted(pq.read_table(tmp_path / "warehouse" / "power")["t"].cast("int64").to_pylist())
    gap = max((b - a, a, b) for a, b in itertools.pairwise(t))
    assert gap[0] > 20_000
    assert any(end <= gap[1] for _, end in ends)
    assert any(start >= gap[2] for start, _ in ends)
    samplers = killing.sealed(tmp_path)
    assert len(samplers) == 2
    assert all(killing.whole(numbers, ledger) for ledger, numbers in samplers.values())


def test_asked_while_it_is_dead_it_answers_when_it_is_back(tmp_path):
    trace = killing.power_trace(tmp_path)
    try:
        trace.sampler._serving.process.kill()
        trace.sampler.watch(os.getpid())
        assert trace.sampler.restarts == 1
        assert trace.sampler.rotate()
    finally:
        trace.close()


def sampler_of(tmp_path, code):
    config = SamplerConfig("n", str(tmp_path), 0.1)
    return SamplerProcess(config, (sys.executable, "-c", code))


def test_a_sampler_that_cannot_start_says_why(tmp_path):
    code = """print('{"what":"failed","error":"no meter: do this"}')"""
    with pytest.raises(MeterError, match="no meter: do this"):
        sampler_of(tmp_path, code).start()
    with pytest.raises(MeterError, match="ended"):
        sampler_of(tmp_path, "pass").start()


def test_one_that_keeps_dying_is_not_started_in_a_hot_loop(tmp_path):
    sampler = sampler_of(tmp_path, """input(); print('{"what":"ready"}', flush=True)""")
    begun = time.monotonic()
    sampler.start()
    killing.wait_until(lambda: sampler.restarts >= 3)
    sampler.stop()
    assert time.monotonic() - begun >= (2 + 4 + 8) * RESTART_S


def test_it_stays_down_once_it_was_stopped(tmp_path):
    trace = killing.power_trace(tmp_path)
    process = trace.sampler._serving.process
    trace.close()
    assert process.poll() == 0
    time.sleep(0.3)
    assert trace.sampler.restarts == 0
    with contextlib.suppress(ChildProcessError):
        assert os.waitpid(process.pid, os.WNOHANG) == (0, 0)
