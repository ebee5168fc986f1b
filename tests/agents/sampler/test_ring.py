"""Wherever a sampler is killed, what it recorded is whole: nothing lost, nothing twice, nothing made up."""

import fcntl
import itertools
import os
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.agents.clock import NodeClock, boot_id
from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.sampler import recorder
from joulemark.agents.sampler.recorder import Recorder
from joulemark.agents.spool import power_rows, recover, ring, segment
from joulemark.agents.spool.ring import BOOT, CAPACITY, NODE, Ring
from joulemark.agents.spool.seal import leftovers
from joulemark.agents.spool.segment import read_segment
from joulemark.warehouse.errors import MeterError

CODE = {module.__file__ for module in (recorder, ring, power_rows, segment, recover)}
KEPT = []
"""Killed processes write nothing more; objects that are collected might."""


class Killed(BaseException):
    """Stands for kill -9."""


def killed_after(lines, work):
    """Do ``work`` until it has run so many lines of the code under test; return whether it came to its end."""
    left = itertools.count(lines, -1)

    def trace(frame, event, _):
        if frame.f_code.co_filename not in CODE:
            return None
        if event == "line" and next(left) <= 0:
            raise Killed
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Killed:
        return False
    finally:
        sys.settrace(before)
    return True


def recording(folder, capacity):
    clock = NodeClock("this-boot", 0, 0)
    made = Ring.create(folder / "power-run.ring", clock.boot, "n", capacity)
    power, rounds = (segment.SegmentWriter(d, folder, f"{d.name}-run") for d in (recorder.POWER, recorder.ROUNDS))
    KEPT.append(Recorder("n", clock, made, power, {"rounds": rounds}))
    return KEPT[-1]


def work_of(taken, steps):
    """Record readings numbered from 1 as ``steps`` say: a number of readings in one round, ``flush`` or ``rotate``."""
    number = itertools.count(1)
    for step in steps:
        if step == "flush":
            taken.flush()
        elif step == "rotate":
            taken.rotate()
        else:
            readings = [Reading(Channel(f"d{i}", "gpu_board", "counter"), None, next(number)) for i in range(step)]
            taken.add("m", 5, readings)


def left_in(folder):
    return sorted(
        e for s in leftovers(folder) if s.name[:6] == "power-" for e in read_segment(s)["energy_uj"].to_pylist()
    )


STEPS = st.lists(st.integers(1, 6) | st.sampled_from(["flush", "rotate"]), max_size=14)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 1200), st.integers(1, 80), st.sampled_from([4, 7, 16]))
def test_any_crash_point_recovers_every_recorded_reading_once(tmp_path_factory, steps, lines, again, capacity):
    kill_and_recover(tmp_path_factory.mktemp("spool"), steps, lines, again, capacity)


def test_every_crash_point_of_one_run_recovers_every_recorded_reading_once(tmp_path):
    for lines in itertools.count(1):
        folder = tmp_path / str(lines)
        folder.mkdir()
        if kill_and_recover(folder, [3, "flush", 2, "rotate", 6, "flush", 1], lines, 1 << 30, 4):
            break
    assert lines > 150


def kill_and_recover(folder, steps, lines, again, capacity):
    taken = recording(folder, capacity)
    ended = killed_after(lines, lambda: work_of(taken, steps))
    recorded = taken.ring.recorded
    fcntl.flock(taken.ring.descriptor, fcntl.LOCK_UN)
    # The one that recovers may be killed as well, at any moment.
    if not killed_after(again, lambda: KEPT.append(recover.recover(taken.ring.path, "this-boot"))):
        release(folder)
        if taken.ring.path.exists():
            recover.recover(taken.ring.path, "this-boot")
    assert left_in(folder) == list(range(1, recorded + 1))
    assert not list(folder.glob("*.ring"))
    return ended


def release(folder):
    """Drop the locks that an interrupted recovery holds in this process."""
    import gc

    gc.collect()
    for name in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{name}"
        if os.path.exists(path) and os.readlink(path).startswith(str(folder)) and os.readlink(path).endswith(".ring"):
            fcntl.flock(int(name), fcntl.LOCK_UN)


def test_values_texts_and_missing_numbers_come_back_as_they_were(tmp_path):
    taken = recording(tmp_path, 16)
    one, two = Channel("GPU-1", "gpu_board", "counter"), Channel("päckage", "cpu_package", "counter")
    taken.add("nvml", 1_700_000_000_000_000, [Reading(one, 312_000, 2**50), Reading(one, None, 7)])
    taken.add("rapl", 1_700_000_000_000_001, [Reading(two, 0, None), Reading(two, None, None, "rapl: lost\nit")])
    (path, _) = taken.rotate()
    rows = read_segment(path).to_pylist()
    assert [(r["meter"], r["device"], r["scope"]) for r in rows] == [("nvml", "GPU-1", "gpu_board")] * 2 + [
        ("rapl", "päckage", "cpu_package")
    ] * 2
    assert [(r["power_mw"], r["energy_uj"], r["reason"]) for r in rows] == [
        (312_000, 2**50, None),
        (None, 7, None),
        (0, None, None),
        (None, None, "rapl: lost\nit"),
    ]
    assert {r["node"] for r in rows} == {"n"}
    assert rows[0]["t"].timestamp() == 1_700_000_000


def test_it_holds_at_least_ten_seconds_of_eight_devices_at_full_rate():
    assert CAPACITY >= 10 * 8 * 30 * 3


def test_a_full_ring_is_written_before_anything_in_it_is_replaced(tmp_path):
    taken = recording(tmp_path, 4)
    work_of(taken, [3, 3, 3])
    assert taken.ring.recorded == 9
    assert taken.ring.flushed >= 5
    taken.rotate()
    assert left_in(tmp_path) == list(range(1, 10))


def test_the_ring_of_another_boot_is_not_believed(tmp_path):
    taken = recording(tmp_path, 16)
    work_of(taken, [2, "flush", 3])
    taken.ring.close()
    assert recover.recover(tmp_path / "power-run.ring", "another-boot") is None
    assert left_in(tmp_path) == [1, 2]
    assert not list(tmp_path.glob("*.ring"))


def test_a_living_sampler_s_ring_is_left_alone(tmp_path):
    taken = recording(tmp_path, 16)
    work_of(taken, [2])
    with pytest.raises(BlockingIOError):
        recover.recover(taken.ring.path, "this-boot")
    assert taken.ring.path.exists()


@pytest.mark.parametrize("content", [b"", b"JM", b"JMRING01", b"JMRING01" + bytes(1 << 16), bytes(1 << 17)])
def test_what_is_no_ring_is_put_aside(tmp_path, content):
    path = tmp_path / "power-x.ring"
    path.write_bytes(content)
    assert recover.recover(path, "this-boot") is None
    assert [p.name for p in tmp_path.iterdir()] == ["power-x.broken"]


def test_reasons_may_be_many_and_long_without_crowding_out_channels(tmp_path):
    made = Ring.create(tmp_path / "r.ring", boot_id(), "n", 4)
    codes = {made.reason(f"{number} " + "x" * 900) for number in range(400)}
    assert 20 < len(codes) < 400
    texts = made.texts()
    assert texts[BOOT] == boot_id()
    assert texts[NODE] == "n"
    assert any("too many different" in t for t in texts)
    assert made.channel("nvml", "GPU", "gpu_board", "counter") not in codes
    made.close()
    again = Ring.open(tmp_path / "r.ring")
    assert again.texts()[: len(texts)] == texts
    again.close()


def test_more_channels_than_fit_are_an_error(tmp_path):
    made = Ring.create(tmp_path / "r.ring", boot_id(), "n", 4)
    while made.code("a text that is rather long " * 20 + str(len(made.codes))) is not None:
        pass
    with pytest.raises(MeterError, match="no room"):
        made.channel("m", "a device with a name that is longer than the rest of the room " * 10, "s", "f")
