"""Where the sampler puts what it reads: the ring at once, and from there a batch a second into segments."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from joulemark.agents.clock import NodeClock
from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.meters.process_tree import process_cpu_ns
from joulemark.agents.sampler.tally import PROCESSES, ProcessClock, Tally
from joulemark.agents.spool.power_rows import PowerRows
from joulemark.agents.spool.ring import SUFFIX, Ring
from joulemark.agents.spool.segment import SegmentWriter, warm_up
from joulemark.warehouse.schema.columns import Dataset
from joulemark.warehouse.schema.traces import DEVICE_STATE, POWER, ROUNDS

ROUNDS_WAIT = 32
"""Rows of ``rounds`` that are worth a batch: up to ten seconds. A kill loses these; no reading is among them."""


def _cpu_of_processes_ns() -> tuple[int | None, int | None]:
    return time.process_time_ns(), process_cpu_ns(os.getppid())


def _process_clocks() -> tuple[ProcessClock, ...]:
    now_ns = time.monotonic_ns()
    return tuple(ProcessClock(n, cpu, now_ns) for n, cpu in zip(PROCESSES, _cpu_of_processes_ns(), strict=True))


@dataclass
class Recorder:
    """Records readings and rounds of one run of a sampler. Raises DiskFull."""

    node: str
    clock: NodeClock
    ring: Ring
    power: SegmentWriter
    slow: dict[str, SegmentWriter]
    """Writers of the datasets that get a few rows a second, which wait in memory for the next batch."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    processes: tuple[ProcessClock, ...] = field(default_factory=_process_clocks)
    power_rows: PowerRows = field(init=False)
    _rows: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    _channels: dict[str, list[tuple[Channel, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.power_rows = PowerRows(self.ring)
        # Else the first batch would make the reads of its moment late.
        warm_up(self.power_rows.batch(0, 1))

    @classmethod
    def start(cls, spool: Path, run: str, node: str, clock: NodeClock) -> Recorder:
        """Make the ring; segments appear when there is something to write."""
        spool.mkdir(parents=True, exist_ok=True)
        ring = Ring.create(spool / f"{POWER.name}-{run}{SUFFIX}", clock.boot, node)
        return cls(
            node,
            clock,
            ring,
            SegmentWriter(POWER, spool, f"{POWER.name}-{run}"),
            {d.name: SegmentWriter(d, spool, f"{d.name}-{run}") for d in (ROUNDS, DEVICE_STATE)},
        )

    def add(self, meter: str, t_us: int, readings: Sequence[Reading]) -> None:
        """Record one read of a meter, at ``t_us`` unless a reading has an instant of its own.

        Once this returns, a kill of this process does not lose it.
        """
        ring, room = self.ring, self.ring.room
        known = self._channels.setdefault(meter, [])
        for place, reading in enumerate(readings):
            # A meter mostly gives the same channels in the same order: then no text is looked at.
            if place >= len(known):
                known.append((reading.channel, self._code(meter, reading.channel)))
            elif known[place][0] is not reading.channel:
                known[place] = (reading.channel, self._code(meter, reading.channel))
            if not room:
                self._write_power()
                room = ring.room
            room -= 1
            reason = 0 if reading.reason is None else ring.reason(reading.reason)
            at_us = t_us if reading.at_ns is None else self.clock.at_us(reading.at_ns)
            ring.append(at_us, known[place][1], reading.power_mw, reading.energy_uj, reason)

    def _code(self, meter: str, channel: Channel) -> int:
        return self.ring.channel(meter, channel.device, channel.scope, channel.fidelity)

    def keep(self, dataset: Dataset, row: Mapping[str, Any]) -> None:
        """Take one row of a dataset that is not ``power``; a kill before the next flush loses it."""
        self._rows.setdefault(dataset.name, []).append(row)

    def tally(self, meter: str) -> Tally:
        """Return the tally of a meter's rounds since the last flush."""
        if meter not in self.tallies:
            self.tallies[meter] = Tally(time.monotonic_ns())
        return self.tallies[meter]

    def flush(self) -> None:
        """Write what was recorded since the last flush, a batch of each dataset that has enough for one."""
        self._write_power()
        now_ns = time.monotonic_ns()
        now_us = self.clock.at_us(now_ns)
        for meter, tally in self.tallies.items():
            if tally.rounds:
                self.keep(ROUNDS, tally.row(self.node, meter, self.clock.at_us(tally.last_ns), now_ns))
                self.tallies[meter] = Tally(now_ns)
        for process, cpu_ns in zip(self.processes, _cpu_of_processes_ns(), strict=True):
            self.keep(ROUNDS, process.row(self.node, now_us, now_ns, cpu_ns))
        self._write_device_state()
        if len(self._rows.get(ROUNDS.name, ())) >= ROUNDS_WAIT:
            self._write(ROUNDS)

    def rotate(self) -> list[Path]:
        """Flush, close the segments and return them; what is recorded next goes to new ones."""
        self.flush()
        self._write(ROUNDS)
        closed = (writer.rotate() for writer in (self.power, *self.slow.values()))
        return [path for path in closed if path is not None]

    def close(self) -> None:
        """Flush, close the segments and delete the ring, of which they hold everything."""
        self.rotate()
        self.ring.path.unlink(missing_ok=True)
        self.ring.close()

    def _write_device_state(self) -> None:
        """Write it, and count what that takes to what its reads take."""
        begun_ns = time.thread_time_ns()
        if self._write(DEVICE_STATE):
            self.tally(DEVICE_STATE.name).cpu_ns += time.thread_time_ns() - begun_ns

    def _write(self, dataset: Dataset) -> bool:
        rows = self._rows.pop(dataset.name, None)
        if not rows:
            return False
        self.slow[dataset.name].write(pa.RecordBatch.from_pylist(rows, schema=dataset.arrow))
        return True

    def _write_power(self) -> None:
        ring, end = self.ring, self.ring.recorded
        if end > ring.flushed:
            self.power.write(self.power_rows.batch(ring.flushed, end))
            ring.flushed = end
