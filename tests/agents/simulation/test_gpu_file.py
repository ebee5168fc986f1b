"""A simulated GPU's counter: exact, never backwards, across writers and their ends."""

from __future__ import annotations

import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.agents.simulation.gpu_file import GpuFile, GpuState, gpu_path, gpu_uuid

S = 1_000_000_000


def test_energy_is_busy_until_an_instant_and_idle_after():
    state = GpuState(since_ns=0, idle_w=100.0).busy_from(2 * S, 5 * S, 400.0, (0.5, 0.25))
    assert state.energy_at_uj(2 * S) == pytest.approx(200e6)
    assert state.energy_at_uj(4 * S) == pytest.approx(1000e6)
    assert state.energy_at_uj(7 * S) == pytest.approx(1600e6)
    assert [state.watts_at(t * S) for t in (1, 2, 4, 5, 6)] == [100, 400, 400, 100, 100]
    assert state.worked_at_ns(4 * S) == (1.0 * S, 0.5 * S)
    assert state.worked_at_ns(9 * S) == (1.5 * S, 0.75 * S)


@given(st.lists(st.tuples(st.integers(0, S), st.integers(0, S), st.floats(100.0, 700.0)), max_size=20))
def test_the_counter_is_the_sum_of_all_steps(steps):
    state, now, wanted_uj, idle_w = GpuState(idle_w=100.0), 0, 0.0, 100.0
    last = -1.0
    for pause, length, watts in steps:
        begin, end = now + pause, now + pause + length
        wanted_uj += (pause * idle_w + length * watts) / 1000
        state, now = state.busy_from(begin, end, watts, (0.0, 0.0)), end
        for instant in (begin, (begin + end) // 2, end):
            assert state.energy_at_uj(instant) >= last
            last = state.energy_at_uj(instant)
    assert state.energy_at_uj(now) == pytest.approx(wanted_uj)


def test_a_gpu_goes_on_where_it_was(tmp_path):
    path = gpu_path(tmp_path, "H100", 3)
    first = GpuFile.make(path, 70.0)
    state = first.occupy(120.0, 80e9, 700.0)
    assert (state.pid, state.memory_bytes, state.limit_w, state.watts_at(time.monotonic_ns())) == (
        os.getpid(), 80e9, 700.0, 120.0,
    )  # fmt: skip
    before = GpuFile.make(path, 70.0).read()
    assert before == state
    first.leave(os.getpid() + 1, 70.0)
    assert first.read() == state
    first.leave(os.getpid(), 70.0)
    after = first.read()
    assert (after.pid, after.idle_w, after.memory_bytes) == (0, 70.0, 0.0)
    assert after.energy_uj >= state.energy_uj


def test_a_counter_of_before_a_restart_of_the_machine_begins_anew(tmp_path):
    path = gpu_path(tmp_path, "H100", 0)
    gpu = GpuFile.make(path, 70.0)
    gpu.write(GpuState(pid=4, since_ns=time.monotonic_ns() + 1000 * S, energy_uj=5.0, busy_until_ns=0, idle_w=120.0))
    state = GpuFile.make(path, 70.0).read()
    assert state.pid == 0
    assert state.since_ns <= time.monotonic_ns()
    assert state.watts_at(time.monotonic_ns()) == 70.0


def test_readers_never_see_half_a_write(tmp_path):
    gpu = GpuFile.make(gpu_path(tmp_path, "H100", 0), 70.0)
    other = GpuFile(gpu.path)
    over = threading.Event()

    def write():
        n = 0
        while not over.is_set():
            n += 1
            gpu.write(GpuState(n, n, float(n), n, float(n), float(n), float(n), float(n), float(n), float(n)))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3000):
            state = other.read()
            if state.pid:
                assert {state.since_ns, state.energy_uj, state.idle_w, state.moved_ns, state.computed_ns} <= {
                    state.pid, 70.0, float(state.pid),
                }  # fmt: skip
    finally:
        over.set()
        writer.join()


def test_a_writer_that_died_in_a_write_is_said(tmp_path):
    gpu = GpuFile.make(gpu_path(tmp_path, "H100", 0), 70.0)
    raw = bytearray(gpu.path.read_bytes())
    raw[0] |= 1
    gpu.path.write_bytes(raw)
    with pytest.raises(OSError, match="never whole"):
        GpuFile(gpu.path).read()


def test_uuids_are_stable_and_tell_gpus_apart():
    found = {gpu_uuid(n, label, i) for n in ("a", "b") for label in ("H100", "H200") for i in range(8)}
    assert len(found) == 32
    assert gpu_uuid("a", "H100", 0) == "SIM-597c5f0f92586f76"
    assert not any(u.startswith(("GPU-", "MIG-")) for u in found)
