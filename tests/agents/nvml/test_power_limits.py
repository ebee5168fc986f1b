"""Power limits: set, read back, refused in a clear line, and put back whatever happens."""

import contextlib
import json
import os
import subprocess
import sys

import pytest
from nvml_double import Device

from joulemark.agents import power_limits
from joulemark.agents.power_limits import PowerLimits
from joulemark.warehouse.errors import BadInput, MissingTool

DEFAULT, SET = (0, 0), (300_000, 300_000)
CHANGE = """
import sys, time
from pathlib import Path
from joulemark.agents.power_limits import PowerLimits
PowerLimits(Path(sys.argv[1]), "boot").set(tuple(sys.argv[2:]), 300)
print("set", flush=True)
time.sleep(120)
"""


@pytest.fixture
def limits(tmp_path):
    return PowerLimits(tmp_path / "limits", "boot")


def records(limits):
    return sorted(limits.folder.glob("*")) if limits.folder.exists() else []


def test_limits_are_set_and_put_back(world, limits):
    double = world(Device(), Device())
    with double.in_this_process():
        limits.set(double.uuids, 300)
        assert double.limits_mw() == SET
        assert len(records(limits)) == 2
        assert limits.restore() == []
        assert double.limits_mw() == (700_000, 700_000)
        assert records(limits) == []
        assert limits.restore() == []
        assert double.limit_sets() == 4


def test_only_the_boards_that_were_asked_for(world, limits):
    double = world(Device(), Device())
    with double.in_this_process():
        limits.set(double.uuids[1:], 250)
        assert double.limits_mw() == (0, 250_000)


def test_what_was_there_first_is_put_back_also_after_two_changes(world, limits):
    double = world(Device(limits_w=(200.0, 650.0, 700.0)))
    with double.in_this_process():
        limits.set(double.uuids, 300)
        limits.set(double.uuids, 400)
        assert limits.restore() == []
        assert double.limits_mw() == (650_000,)


@pytest.mark.parametrize("limit_w", [100, 900])
def test_a_limit_out_of_range_names_the_range_and_changes_nothing(world, limits, limit_w):
    double = world(Device(), Device(limits_w=(200.0, 700.0, 1000.0)))
    in_range = rf"power limit {limit_w} W: NVIDIA H100.* takes 200 to 700 W"
    with double.in_this_process(), pytest.raises(BadInput, match=in_range):
        limits.set(double.uuids, limit_w)
    assert (double.limits_mw(), records(limits)) == (DEFAULT, [])


def test_one_board_that_refuses_leaves_all_as_they_were(world, limits):
    double = world(Device(), Device(may_set_limit=0))
    by_hand = f"nvidia-smi -i {','.join(double.uuids)} -pl 300"
    with double.in_this_process(), pytest.raises(MissingTool, match=by_hand):
        limits.set(double.uuids, 300)
    assert double.limits_mw()[0] == 700_000
    assert double.limits_mw()[1] == 0
    assert records(limits) == []


def test_a_limit_that_is_in_force_already_needs_no_permission(world, limits):
    double = world(Device(may_set_limit=0, limits_w=(200.0, 300.0, 700.0)))
    with double.in_this_process():
        limits.set(double.uuids, 300)
    assert (double.limit_sets(), records(limits)) == (0, [])


@pytest.mark.parametrize(
    ("device", "said"),
    [(Device(missing=("limit",)), "Not Supported"), (Device(mig=2), "MIG"), (Device(lost_s=((0.0,),)), "lost")],
)
def test_a_board_without_a_limit_says_so(world, limits, device, said):
    double = world(device)
    with double.in_this_process(), pytest.raises(BadInput, match=said):
        limits.set(double.uuids, 300)
    assert records(limits) == []


def test_no_driver_is_one_line(world, limits):
    double = world(Device(), unloaded_s=((0.0,),))
    with double.in_this_process(), pytest.raises(BadInput, match="power limit 300 W cannot be set"):
        limits.set(double.uuids, 300)


def test_a_card_that_takes_another_limit_is_refused_and_put_back(world, limits, monkeypatch):
    double = world(Device())
    real = power_limits.api.set_limit_mw
    monkeypatch.setattr(power_limits.api, "set_limit_mw", lambda h, mw: real(h, mw + (5_000 if mw == 300_000 else 0)))
    with double.in_this_process(), pytest.raises(BadInput, match="took 305 W instead"):
        limits.set(double.uuids, 300)
    assert (double.limits_mw(), records(limits)) == ((700_000,), [])


def test_kill_9_leaves_a_record_and_the_next_start_puts_the_limit_back(world, limits):
    double = world(Device(), Device())
    with double.in_this_process():
        process = subprocess.Popen(
            [sys.executable, "-c", CHANGE, str(limits.folder), *double.uuids],
            stdout=subprocess.PIPE,
            env={**os.environ, **double.environment},
        )
        assert process.stdout.readline() == b"set\n"
        process.kill()
        process.wait()
        process.stdout.close()
        assert double.limits_mw() == SET
        assert limits.restore() == []
        assert double.limits_mw() == (700_000, 700_000)


@pytest.mark.parametrize("crash_after", range(1, 5))
def test_a_crash_at_any_moment_can_be_undone(world, limits, monkeypatch, crash_after):
    """Every write and every setting in turn is the last thing that happens."""
    double = world(Device(), Device())
    done = []

    def counted(real):
        def call(*args):
            if len(done) == crash_after:
                raise KeyboardInterrupt
            done.append(real)
            return real(*args)

        return call

    with monkeypatch.context() as patch, double.in_this_process():
        patch.setattr(power_limits.api, "set_limit_mw", counted(power_limits.api.set_limit_mw))
        patch.setattr(power_limits.os, "replace", counted(power_limits.os.replace))
        with contextlib.suppress(KeyboardInterrupt):
            limits.set(double.uuids, 300)
        assert len(done) == crash_after
    with double.in_this_process():
        assert limits.restore() == []
    assert set(double.limits_mw()) <= {0, 700_000}
    assert not list(limits.folder.glob("*.json"))


def test_a_limit_that_cannot_be_put_back_stays_recorded_and_is_said(world, limits):
    double = world(Device(), Device())
    with double.in_this_process():
        limits.set(double.uuids, 300)
    double.devices = (Device(lost_s=((0.0,),)), Device())
    double.write()
    with double.in_this_process():
        (said,) = limits.restore()
        assert f"sudo nvidia-smi -i {double.uuids[0]} -pl 700" in said
        assert double.limits_mw() == (300_000, 700_000)
        assert [p.stem for p in records(limits)] == [double.uuids[0]]
    double.devices = (Device(), Device())
    double.write()
    with double.in_this_process():
        assert limits.restore() == []
    assert double.limits_mw() == (700_000, 700_000)


def test_a_record_from_before_a_reboot_is_dropped(world, limits):
    double = world(Device())
    with double.in_this_process():
        limits.set(double.uuids, 300)
        assert json.loads(records(limits)[0].read_text())["limit_mw"] == 700_000
        after = PowerLimits(limits.folder, "another boot")
        assert after.restore() == []
        assert (records(limits), double.limits_mw()) == ([], (300_000,))
