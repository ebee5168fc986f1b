"""The sampler's loop: every meter at deadlines of its own, and what the agent orders between two of them."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from joulemark.agents.clock import NodeClock
from joulemark.agents.meters.cpu_model import CpuModelMeter
from joulemark.agents.meters.meter import Meter, OwnPace, Reading
from joulemark.agents.meters.nvml.device_state import DeviceStates
from joulemark.agents.meters.nvml.meter import NvmlMeter
from joulemark.agents.meters.prometheus.meter import PrometheusMeter
from joulemark.agents.meters.simulated import SimulatedMeter, SimulatedStates
from joulemark.agents.sampler.inbox import Inbox
from joulemark.agents.sampler.probe import Probe, timings
from joulemark.agents.sampler.protocol import Order, Report, SamplerConfig, Timing, line
from joulemark.agents.sampler.recorder import Recorder
from joulemark.agents.sampler.schedule import Schedule
from joulemark.agents.sampler.watts import Watts
from joulemark.agents.spool.segment import BATCH_S
from joulemark.warehouse.schema.traces import DEVICE_STATE
from joulemark.warehouse.units import NS_PER_US

NS_PER_S = 1_000_000_000
REPORT_S = 2.0
PARTS = frozenset({"gpu_memory", "gpu_module", "nvml-average"})
"""Scopes and meters whose watts are in another's already, and left out of the watts that are shown."""


class States(Protocol):
    """Slower facts of GPUs."""

    next_at_s: float
    """When the next turn comes, in ``time.monotonic()`` seconds."""

    def due(self, now_s: float) -> list[dict[str, object]]:
        """Return the rows of ``device_state`` of the GPUs whose turn has come."""

    def watch(self, pids: tuple[int, ...]) -> None:
        """Take these process trees for the deployment's."""


@dataclass
class Sampler:
    """Reads ``meters`` until its agent orders it to stop, or ends. Raises DiskFull."""

    config: SamplerConfig
    meters: Sequence[Meter]
    warnings: tuple[str, ...] = ()
    inbox: Inbox = field(default_factory=Inbox)
    schedules: list[Schedule] = field(default_factory=list)
    _states: list[States] = field(default_factory=list)
    _flush_at_ns: int = 0
    _report_at_ns: int = 0
    _watts: Watts = field(default_factory=Watts)

    def __post_init__(self) -> None:
        self.clock = NodeClock.of_this_node()
        self.recorder = Recorder.start(Path(self.config.spool), self.config.run, self.config.node, self.clock)
        gpus = next((m.gpus for m in self.meters if isinstance(m, NvmlMeter)), None)
        self._states = [DeviceStates(self.config.node, self.clock, gpus)] if gpus is not None else []
        self._states += [SimulatedStates(self.config.node, self.clock, m) for m in self._simulated]
        self._watch(self.config.pids)

    @property
    def _simulated(self) -> list[SimulatedMeter]:
        return [m for m in self.meters if isinstance(m, SimulatedMeter)]

    def run(self) -> None:
        """Find out how often each meter is worth reading, then read it so."""
        known = {m.name: Timing(m.every_s) for m in self.meters if isinstance(m, OwnPace)} | self.config.timings
        now_ns = time.monotonic_ns()
        self._flush_at_ns = now_ns + _ns(BATCH_S)
        self.schedules = [
            Schedule(m, _ns(known[m.name].every_s), now_ns) if m.name in known else Schedule(m, 0, now_ns, Probe())
            for m in self.meters
        ]
        # What was made until here stays: looking through it again and again would only make rounds late.
        gc.freeze()
        if self._loop(self._probed):
            self._settle_on(known)
            self._loop(lambda _: False)
        self.recorder.close()

    def _loop(self, done: Callable[[int], bool]) -> bool:
        """Read each meter when it is due until ``done`` at an instant; return False where it is to stop before."""
        while not done(now_ns := time.monotonic_ns()):
            schedule = min(self.schedules, key=lambda s: s.deadline_ns)
            if schedule.deadline_ns >= self._flush_at_ns:
                # Before the wait and not after it: then nothing older than a batch is ever in the ring alone.
                self.recorder.flush()
                self._flush_at_ns = now_ns + _ns(BATCH_S)
            orders = self.inbox.wait(schedule.deadline_ns)
            if orders is None or not all(self._obey(order) for order in orders):
                return False
            if orders:
                # They may have taken a while, or have had meters read.
                continue
            self._round(schedule)
            for states in self._states:
                if states.next_at_s <= time.monotonic():
                    self._look(states)
        return True

    def _round(self, schedule: Schedule) -> None:
        meter, tally = schedule.meter, self.recorder.tally(schedule.meter.name)
        begun_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        try:
            readings = meter.read()
        except Exception as error:  # noqa: BLE001 -- whatever one meter does, the others go on
            readings = [Reading(c, None, None, f"{meter.name}: {error!r}") for c in meter.channels]
            tally.failed, tally.error = tally.failed + 1, repr(error)
        cpu_ns, ended_ns = time.thread_time_ns() - cpu_ns, time.monotonic_ns()
        self.recorder.add(meter.name, self.clock.at_us((begun_ns + ended_ns) // 2), readings)
        tally.add(schedule.deadline_ns, begun_ns, ended_ns, cpu_ns, readings)
        if schedule.probe is not None:
            schedule.probe.add(begun_ns / NS_PER_S, (ended_ns - begun_ns) / NS_PER_S, cpu_ns / NS_PER_S, readings)
        tally.skipped += schedule.advance(ended_ns)
        self._report(schedule, readings, ended_ns)

    def _look(self, states: States) -> None:
        """Read the slower facts of the GPU whose turn it is, if any, now that the next read is furthest away."""
        begun_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        rows = states.due(begun_ns / NS_PER_S)
        if rows:
            ended_ns = time.monotonic_ns()
            for row in rows:
                self.recorder.keep(DEVICE_STATE, row)
            cpu_ns = time.thread_time_ns() - cpu_ns
            self.recorder.tally(DEVICE_STATE.name).add(begun_ns, begun_ns, ended_ns, cpu_ns, ())

    def _report(self, schedule: Schedule, readings: Sequence[Reading], now_ns: int) -> None:
        meter = schedule.meter
        if isinstance(meter, PrometheusMeter):
            # Not part of the total: it may contain what the others measure.
            if meter.news():
                say(Report("meters", meters={meter.name: _described(meter, Timing(meter.every_s, meter.update_s))}))
            return
        if meter.name not in PARTS:
            schedule.latest = now_ns, readings
        if now_ns >= self._report_at_ns:
            self._report_at_ns = now_ns + _ns(REPORT_S)
            watts = self._watts.total(
                (at_ns // NS_PER_US, r)
                for at_ns, seen in (s.latest for s in self.schedules)
                for r in seen
                if r.channel.scope not in PARTS
            )
            if watts is not None:
                say(Report("watts", watts=round(watts, 2)))

    def _probed(self, now_ns: int) -> bool:
        return all(s.probe is None or s.probe.enough((now_ns - s.begun_ns) / NS_PER_S) for s in self.schedules)

    def _settle_on(self, known: dict[str, Timing]) -> None:
        known |= timings({s.meter.name: s.probe for s in self.schedules if s.probe}, self.config.period_s)
        for schedule in self.schedules:
            schedule.interval_ns, schedule.probe = _ns(known[schedule.meter.name].every_s), None
        described = {m.name: _described(m, known[m.name]) for m in self.meters}
        say(Report("ready", meters=described, timings=known, warnings=self.warnings))

    def _obey(self, order: Order) -> bool:
        """Do what is asked; return False where it is to stop."""
        if order.do == "watch":
            self._watch(order.pids)
            say(Report("watching"))
        elif order.do == "rotate":
            # A process that was kept waiting owes reads, and the trial that just ended wants one past its end.
            for schedule in self.schedules:
                if schedule.deadline_ns <= time.monotonic_ns():
                    self._round(schedule)
            say(Report("rotated", segments=tuple(str(path) for path in self.recorder.rotate())))
        return order.do != "stop"

    def _watch(self, pids: tuple[int, ...]) -> None:
        for meter in self.meters:
            if isinstance(meter, CpuModelMeter):
                meter.tree.watch(pids)
        for states in self._states:
            states.watch(pids)


def say(report: Report) -> None:
    """Tell the agent. One that is gone is noticed at the end of stdin."""
    try:
        sys.stdout.buffer.write(line(report))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _described(meter: Meter, timing: Timing) -> dict[str, object]:
    channels = [{"device": c.device, "scope": c.scope, "fidelity": c.fidelity} for c in meter.channels]
    return {**meter.describe(), "channels": channels, "timing": msgspec.to_builtins(timing)}


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)
