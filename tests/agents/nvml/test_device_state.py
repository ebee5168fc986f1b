"""The slower facts of every GPU, and whose the processes on it are."""

import os
import subprocess
import sys
import time

import pyarrow as pa
import pytest
from nvml_double import Device

from joulemark.agents.clock import NodeClock
from joulemark.agents.engines.leftovers import MARK
from joulemark.agents.meters.nvml.device_state import DeviceStates
from joulemark.agents.meters.nvml.owners import Owners
from joulemark.warehouse.schema.traces import DEVICE_STATE

MEASURED = (
    "sm_mhz",
    "mem_mhz",
    "temperature_c",
    "memory_temperature_c",
    "utilization",
    "memory_used_bytes",
    "throttle_reasons",
)
ACTIVITY = ("sm_active", "tensor_active", "dram_active")
NO_SUCH_PID = 2**22 + 7


@pytest.fixture
def clock(tmp_path):
    return NodeClock.of_this_node(tmp_path)


@pytest.fixture
def family():
    """A process with a child, and a stranger; the child's pid is on the parent's first line."""
    code = (
        "import subprocess,sys,time;p=subprocess.Popen([sys.executable,'-c','import time;time.sleep(120)']);"
        "print(p.pid,flush=True);time.sleep(120)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    stranger = subprocess.Popen([sys.executable, "-c", "import time;time.sleep(120)"], start_new_session=True)
    yield parent.pid, int(parent.stdout.readline()), stranger.pid
    for process in (parent, stranger):
        os.killpg(process.pid, 9)
        process.wait()
    parent.stdout.close()


def second_read(states):
    states.read()
    time.sleep(0.15)
    return states.read()


def test_every_fact_has_its_unit(playing, clock):
    device = Device(throttled=((0x24, 0.0),), memory_bytes=(1 << 36, 5_000_000_000))
    with playing(device) as (double, gpus):
        (row,) = second_read(DeviceStates("n1", clock, gpus))
        assert (row["node"], row["device"]) == ("n1", double.uuids[0])
        assert [row[c] for c in MEASURED] == [1755, 2619, 45, 52, 0.9, 5_000_000_000, 0x24]
        assert [row[c] for c in ACTIVITY] == pytest.approx([0.8, 0.4, 0.6])
        assert (row["power_limit_mw"], row["foreign_processes"]) == (700_000, 0)
        assert abs(clock.now_us() - row["t"]) < 10_000_000
        table = pa.Table.from_pylist([row], schema=DEVICE_STATE.arrow)
        assert not [c.name for c in DEVICE_STATE.columns if not c.nullable and table[c.name].null_count]


def test_activity_needs_two_readings_and_a_card_that_counts_it(playing, clock):
    with playing(Device(), Device(architecture=8), Device(missing=("gpm",)), Device(mig=2)) as (_, gpus):
        states = DeviceStates("n1", clock, gpus)
        assert [r["sm_active"] for r in states.read()] == [None] * 4
        time.sleep(0.15)
        assert [r["sm_active"] for r in states.read()] == [pytest.approx(0.8), None, None, None]


def test_what_a_card_does_not_say_is_null(playing, clock):
    with playing(Device(missing=("state", "limit", "gpm"))) as (_, gpus):
        (row,) = second_read(DeviceStates("n1", clock, gpus))
        assert {row[c] for c in (*MEASURED, *ACTIVITY, "power_limit_mw")} == {None}


def test_a_lost_device_keeps_its_row(playing, clock):
    with playing(Device(), Device(lost_s=((50.4,),)), age_s=50) as (double, gpus):
        states = DeviceStates("n1", clock, gpus)
        while double.now_s() < 50.5:
            time.sleep(0.02)
        first, lost = states.read()
        assert first["sm_mhz"] == 1755
        assert lost["device"] == double.uuids[1]
        assert {v for k, v in lost.items() if k not in ("node", "device", "t")} == {None}


def test_gpus_take_turns_once_a_second(playing, clock):
    with playing(*[Device()] * 1, *[Device(uuid=f"GPU-{i}") for i in range(1, 4)]) as (_, gpus):
        states = DeviceStates("n1", clock, gpus)
        turns = [[r["device"] for r in states.due(100.0 + i * 0.05)] for i in range(41)]
        assert max(map(len, turns)) == 1
        assert {d: sum(d in t for t in turns) for d in gpus.gpus} == dict(zip(gpus.gpus, (3, 2, 2, 2), strict=True))
        assert len(states.due(500.0)) == 4
        assert states.due(500.01) == []


def test_foreign_processes_are_those_outside_the_watched_trees(playing, clock, tmp_path, family):
    parent, child, stranger = family
    pids = tmp_path / "pids"
    pids.write_text(f"{parent}\n{child}\n")
    with playing(Device(processes_file=pids)) as (_, gpus):
        states = DeviceStates("n1", clock, gpus)

        def foreign():
            return states.read()[0]["foreign_processes"]

        assert foreign() == 2
        states.watch((parent,))
        assert foreign() == 0
        pids.write_text(f"{child}\n{stranger}\n")
        assert foreign() == 1
        pids.write_text(f"{child}\n{NO_SUCH_PID}\n")
        assert foreign() is None
        pids.write_text(f"{stranger}\n{NO_SUCH_PID}\n")
        assert foreign() == 1
        states.watch(())
        pids.write_text(f"{child}\n")
        assert foreign() == 1


def test_an_orphan_is_known_by_the_mark_of_its_start():
    code = "import time;time.sleep(120)"
    start = {**os.environ, MARK: "a-start"}
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=start, start_new_session=True),
        subprocess.Popen([sys.executable, "-c", code], env=start, start_new_session=True),
        subprocess.Popen([sys.executable, "-c", code], env={**start, MARK: "another"}, start_new_session=True),
    ]
    try:
        root, orphan, other = (p.pid for p in both)
        owners = Owners()
        deadline = time.monotonic() + 20
        while not owners.marks and time.monotonic() < deadline:
            owners.watch((root,))  # until the child has its own environment
        assert owners.foreign([root, orphan]) == 0
        assert owners.foreign([root, orphan, other]) == 1
    finally:
        for process in both:
            process.kill()
            process.wait()
