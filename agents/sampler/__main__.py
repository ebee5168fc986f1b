"""Run the sampler. It ends when its agent does: the end of stdin is an order to stop."""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path

import msgspec

from joulemark.agents.clock import NodeClock
from joulemark.agents.meters.cpu_model import CpuModelMeter
from joulemark.agents.meters.discover import discover
from joulemark.agents.meters.meter import Meter, Reading
from joulemark.agents.priority import prefer_me
from joulemark.agents.sampler.protocol import Order, Report, SamplerConfig, line
from joulemark.agents.sampler.watts import Watts
from joulemark.agents.spool.segment import SegmentWriter
from joulemark.warehouse.errors import JoulemarkError
from joulemark.warehouse.schema.traces import POWER

REPORT_S = 0.5


class Sampler:
    """Reads all meters at absolute deadlines and does what the agent orders between two of them."""

    def __init__(self, config: SamplerConfig) -> None:
        self.config = config
        self.clock = NodeClock.of_this_node()
        self.meters, warnings = discover(config.cpu_watts)
        self.writer = SegmentWriter(POWER, Path(config.spool), f"power-{self.clock.boot[:8]}-{os.getpid()}")
        self.watts = Watts()
        self._report_at = 0.0
        _say(Report("ready", meters={m.name: _described(m) for m in self.meters}, warnings=tuple(warnings)))

    def run(self) -> None:
        """Sample until told to stop."""
        deadline = time.monotonic()
        waiting = b""
        while True:
            self._tick()
            deadline = max(deadline + self.config.period_s, time.monotonic())
            while (left := deadline - time.monotonic()) > 0:
                if not select.select([0], [], [], left)[0]:
                    break
                received = os.read(0, 1 << 16)
                *orders, waiting = (waiting + received).split(b"\n")
                if not received or not all(self._obey(msgspec.json.decode(o, type=Order)) for o in orders):
                    self.writer.rotate()
                    return

    def _tick(self) -> None:
        seen: list[tuple[int, Reading]] = []
        for meter in self.meters:
            before_ns = time.monotonic_ns()
            readings = meter.read()
            instant_us = self.clock.at_us((before_ns + time.monotonic_ns()) // 2)
            for reading in readings:
                self.writer.add(self._row(meter.name, instant_us, reading))
                seen.append((instant_us, reading))
        if time.monotonic() >= self._report_at:
            self._report_at = time.monotonic() + REPORT_S
            watts = self.watts.total(seen)
            if watts is not None:
                _say(Report("watts", watts=round(watts, 2)))

    def _row(self, meter: str, instant_us: int, reading: Reading) -> dict[str, object]:
        return {
            "node": self.config.node,
            "meter": meter,
            "device": reading.channel.device,
            "scope": reading.channel.scope,
            "fidelity": reading.channel.fidelity,
            "t": instant_us,
            "power_mw": reading.power_mw,
            "energy_uj": reading.energy_uj,
            "reason": reading.reason,
        }

    def _obey(self, order: Order) -> bool:
        """Do what is asked; return False where it is to stop."""
        if order.do == "watch":
            for meter in self.meters:
                if isinstance(meter, CpuModelMeter):
                    meter.tree.watch(order.pids)
            _say(Report("watching"))
        elif order.do == "rotate":
            segment = self.writer.rotate()
            _say(Report("rotated", segment=str(segment) if segment else None))
        return order.do != "stop"


def _described(meter: Meter) -> dict[str, object]:
    channels = [{"device": c.device, "scope": c.scope, "fidelity": c.fidelity} for c in meter.channels]
    return {**meter.describe(), "channels": channels}


def _say(report: Report) -> None:
    sys.stdout.buffer.write(line(report))
    sys.stdout.buffer.flush()


def main() -> None:
    """Read the configuration from the first line of stdin, then sample."""
    config = msgspec.json.decode(_first_line(), type=SamplerConfig)
    prefer_me()
    try:
        Sampler(config).run()
    except (JoulemarkError, OSError) as error:
        _say(Report("failed", error=str(error)))
        sys.exit(1)


def _first_line() -> bytes:
    # Byte by byte: what follows the line must stay in the pipe for select() to see.
    received = b""
    while not received.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        received += byte
    return received


main()
