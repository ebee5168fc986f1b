"""The loop: each meter at its own pace, whatever the others do, and every round in the data."""

import os
import threading
import time
from pathlib import Path

import msgspec
import pytest

from joulemark.agents.clock import boot_id
from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.sampler import loop
from joulemark.agents.sampler.inbox import Inbox
from joulemark.agents.sampler.loop import Sampler
from joulemark.agents.sampler.protocol import Order, Report, SamplerConfig, Timing, line
from joulemark.agents.spool.seal import leftovers
from joulemark.agents.spool.segment import read_segment


class Meter:
    """Gives the reading that ``give`` makes of its channels."""

    def __init__(self, name, give=lambda channel: Reading(channel, 1000, 5), channels=1, every_s=None):
        self.name, self.give, self.times = name, give, []
        self.channels = tuple(Channel(f"{name}-{i}", "gpu_board", "counter") for i in range(channels))
        if every_s:
            self.every_s = every_s

    def read(self):
        self.times.append(time.monotonic())
        return [self.give(c) for c in self.channels]

    def describe(self):
        return {"source": "a test"}


class Run:
    """A sampler in a thread of the test, and the pipe that it takes orders from."""

    def __init__(self, folder, *meters, **config):
        taken, self.orders = os.pipe()
        config = SamplerConfig("n", str(folder), 0.1, run=f"{boot_id()[:8]}-1", **config)
        self.sampler = Sampler(config, meters, inbox=Inbox(taken))
        self.thread = threading.Thread(target=self.sampler.run)
        self.thread.start()

    def tell(self, text):
        os.write(self.orders, text)

    def end(self, how="stop"):
        os.close(self.orders) if how == "close" else self.tell(line(Order(how)))
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def said(monkeypatch):
    reports = []
    monkeypatch.setattr(loop, "say", reports.append)
    return reports


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def rows(folder, dataset, **wanted):
    tables = [read_segment(s) for s in leftovers(folder) if s.name.startswith(dataset)]
    return [r for t in tables for r in t.to_pylist() if all(r[k] == v for k, v in wanted.items())]


@pytest.mark.parametrize("how", ["stop", "close"])
def test_it_reads_until_it_is_told_to_stop_or_its_agent_ends(tmp_path, said, how):
    meter = Meter("m", every_s=0.02, channels=2)
    run = Run(tmp_path, meter)
    wait_for(lambda: len(meter.times) > 10)
    run.end(how)
    assert len(rows(tmp_path, "power")) == 2 * len(meter.times)
    assert not list(tmp_path.glob("*.ring")), "everything is in segments; nothing is to be recovered"
    assert said[0].what == "ready"
    assert said[0].meters["m"]["timing"]["every_s"] == 0.02


def test_each_meter_has_its_own_pace(tmp_path, said):
    quick, slow = Meter("quick", every_s=0.02), Meter("slow", every_s=0.2)
    run = Run(tmp_path, quick, slow)
    wait_for(lambda: len(slow.times) >= 6)
    run.end()
    assert len(quick.times) > 3 * len(slow.times)


def test_a_stalled_read_shows_in_the_data_of_every_meter_that_it_held_up(tmp_path, said):
    victim, stalls = Meter("victim", every_s=0.05), [0.0, 0.6]

    def slow(channel):
        time.sleep(stalls.pop() if stalls else 0)
        return Reading(channel, 1, 1)

    run = Run(tmp_path, victim, Meter("slow", slow, every_s=0.3))
    wait_for(lambda: not stalls and len(victim.times) > 12)
    run.end()
    of_victim, of_slow = rows(tmp_path, "rounds", meter="victim"), rows(tmp_path, "rounds", meter="slow")
    assert max(r["lateness_max_us"] for r in of_victim) >= 450_000
    assert sum(r["skipped"] for r in of_victim) >= 9
    assert sum(r["late"] for r in of_victim) >= 1
    assert max(r["duration_max_us"] for r in of_slow) >= 600_000
    assert sum(r["skipped"] for r in of_slow) >= 1
    assert sum(r["rounds"] for r in of_victim) == len(victim.times) == sum(r["readings"] for r in of_victim)


def test_a_meter_that_fails_is_data_and_the_others_go_on(tmp_path, said):
    def broken(_):
        raise RuntimeError("the bus is gone")

    def missing(channel):
        return Reading(channel, None, None, "lost")

    well = Meter("well", every_s=0.02)
    run = Run(tmp_path, Meter("broken", broken, 2, every_s=0.02), Meter("half", missing, every_s=0.02), well)
    wait_for(lambda: len(well.times) > 10)
    run.end()
    (row,) = rows(tmp_path, "rounds", meter="broken")
    assert (row["failed"], row["missing"]) == (row["rounds"], 2 * row["rounds"])
    assert "the bus is gone" in row["error"]
    lost = rows(tmp_path, "power", meter="broken")
    assert len(lost) == row["readings"]
    assert all(r["power_mw"] is None and r["energy_uj"] is None and "the bus is gone" in r["reason"] for r in lost)
    (row,) = rows(tmp_path, "rounds", meter="half")
    assert (row["failed"], row["missing"], row["error"]) == (0, row["readings"], "lost")
    (row,) = rows(tmp_path, "rounds", meter="well")
    assert (row["failed"], row["missing"], row["error"]) == (0, 0, None)


def test_the_cost_of_watching_is_in_the_data(tmp_path, said):
    run = Run(tmp_path, Meter("m", lambda c: sum(range(200_000)) and Reading(c, 1, 1), every_s=0.02))
    wait_for(lambda: len(run.sampler.meters[0].times) > 10)
    run.end()
    used = {m: sum(r["cpu_us"] for r in rows(tmp_path, "rounds", meter=m)) for m in ("sampler", "agent", "m")}
    assert 0 < used["m"] <= used["sampler"]
    assert used["agent"] >= 0


def test_an_unknown_meter_is_characterised_and_then_read_for_its_period(tmp_path, said):
    begun = time.monotonic()
    meter = Meter("gpu", lambda c: Reading(c, 1, int((time.monotonic() - begun) / 0.1)))
    run = Run(tmp_path, meter)
    wait_for(lambda: any(r.what == "ready" for r in said))
    during = len(meter.times)
    run.end()
    timing = next(r for r in said if r.what == "ready").timings["gpu"]
    assert timing.energy_s["gpu_board"] == pytest.approx(0.1, rel=0.1)
    assert 0.03 < timing.every_s < 0.05
    assert timing.read_us > 0
    assert len(rows(tmp_path, "power")) == len(meter.times) >= during > 50, "samples of the characterisation count too"


def test_what_was_measured_before_is_not_measured_again(tmp_path, said):
    meter = Meter("gpu")
    run = Run(tmp_path, meter, timings={"gpu": Timing(0.05, update_s=0.125)})
    wait_for(lambda: len(meter.times) > 5)
    run.end()
    assert said[0].timings["gpu"] == Timing(0.05, update_s=0.125)


def test_rotate_closes_what_was_read_and_goes_on(tmp_path, said):
    meter = Meter("m", every_s=0.02)
    run = Run(tmp_path, meter)
    wait_for(lambda: len(meter.times) > 3)
    run.tell(line(Order("rotate")))
    wait_for(lambda: any(r.what == "rotated" for r in said))
    before = len(meter.times)
    wait_for(lambda: len(meter.times) > before + 3)
    run.end()
    (rotated,) = (r for r in said if r.what == "rotated")
    assert [s.rpartition("/")[2].partition("-")[0] for s in rotated.segments] == ["power", "rounds"]
    assert all(s.endswith("-000000000000.arrows") for s in rotated.segments)
    assert len(rows(tmp_path, "power")) == len(meter.times)


def test_reads_that_are_overdue_are_made_before_what_was_read_is_closed(tmp_path, said):
    held, released = threading.Event(), threading.Event()

    def hold(channel):
        held.set()
        released.wait(30)
        return Reading(channel, 1000, 5)

    quick = Meter("quick", every_s=0.02)
    run = Run(tmp_path, quick, Meter("holds", hold, every_s=5.0))
    assert held.wait(30)
    time.sleep(0.05)
    ordered_us = run.sampler.clock.now_us()
    run.tell(line(Order("rotate")))
    released.set()
    wait_for(lambda: any(r.what == "rotated" for r in said))
    run.end()
    (rotated,) = (r for r in said if r.what == "rotated")
    closed = [row for s in rotated.segments for row in read_segment(Path(s)).to_pylist() if "power-" in s]
    read_us = [row["t"] for row in closed if row["meter"] == "quick"]
    assert max(int(t.timestamp() * 1e6) for t in read_us) >= ordered_us


def test_orders_may_come_in_pieces_and_in_heaps():
    taken, orders = os.pipe()
    inbox = Inbox(taken)
    whole = line(Order("watch", (1, 2))) + line(Order("rotate")) + line(Order("stop"))
    os.write(orders, whole[:9])
    soon = time.monotonic_ns() + 20_000_000
    assert inbox.wait(soon) == []
    os.write(orders, whole[9:])
    assert inbox.wait(time.monotonic_ns() - 1) == [Order("watch", (1, 2)), Order("rotate"), Order("stop")]
    os.close(orders)
    assert inbox.wait(time.monotonic_ns() + 10**6) is None


def test_the_first_line_leaves_the_rest_in_the_pipe():
    taken, orders = os.pipe()
    config = SamplerConfig("n", "/spool", 0.1, (1.0, 2.0), "run", (7,), {"nvml": Timing(0.04, 0.1, {"gpu_board": 0.1})})
    os.write(orders, line(config) + line(Order("stop")))
    inbox = Inbox(taken)
    assert msgspec.json.decode(inbox.first_line(), type=SamplerConfig) == config
    assert inbox.wait(0) == [Order("stop")]


def test_reports_come_back_as_they_were():
    report = Report("ready", meters={"m": {"a": 1}}, timings={"m": Timing(0.1)}, warnings=("one",))
    assert msgspec.json.decode(line(report), type=Report) == report
    assert line(report).count(b"\n") == 1
