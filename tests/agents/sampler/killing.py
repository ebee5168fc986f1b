"""Kills a sampler or an agent at a chosen moment, and finds out what of its readings is left.

The sampler is the real one with a meter that counts: each reading's energy is its number, from 1 on, above the
process's id times ``PER_PROCESS``. Two words in a file that outlives the process say how many readings were given out
and how many recorded. Run as a script, this is such a sampler.
"""

import mmap
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from joulemark.agents.clock import boot_id
from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.orders import AgentConfig
from joulemark.agents.power import PowerTrace
from joulemark.agents.sampler import loop
from joulemark.agents.sampler.inbox import Inbox
from joulemark.agents.sampler.protocol import SamplerConfig
from joulemark.agents.spool.recover import recover, rings
from joulemark.agents.spool.seal import leftovers
from joulemark.agents.spool.segment import read_segment
from joulemark.warehouse.store.location import Warehouse

DEVICES = 8
EVERY_S = 0.001
PER_PROCESS = 10**9
COMMAND = (sys.executable, __file__)
BATCH = "KILLING_BATCH_S"
"""Environment variable: how often the sampler writes a batch; often, so that kills hit it while it does."""


class Ledger:
    """How many readings a sampler gave out and recorded, in a file."""

    def __init__(self, path):
        with path.open("a+b") as file:
            file.truncate(16)
            self.words = memoryview(mmap.mmap(file.fileno(), 16)).cast("Q")

    given = property(lambda self: self.words[0])
    recorded = property(lambda self: self.words[1])


class Counting:
    """A meter that counts its own readings."""

    name, every_s = "counting", EVERY_S
    channels = tuple(Channel(f"device-{i}", "gpu_board", "simulated") for i in range(DEVICES))

    def __init__(self, ledger):
        self.ledger, self.first = ledger, os.getpid() * PER_PROCESS

    def read(self):
        readings = []
        for channel in self.channels:
            self.ledger.words[0] += 1
            readings.append(Reading(channel, 1000, self.first + self.ledger.given))
        return readings

    def describe(self):
        return {"source": "a test"}


def sample():
    """Be a sampler until told to stop."""
    inbox = Inbox()
    config = msgspec.json.decode(inbox.first_line(), type=SamplerConfig)
    ledger = Ledger(Path(config.spool).parent / f"ledger-{os.getpid()}")
    loop.BATCH_S = float(os.environ.get(BATCH, "1"))
    sampler = loop.Sampler(config, [Counting(ledger)], inbox=inbox)
    append = sampler.recorder.ring.append

    def append_and_say(*record):
        append(*record)
        ledger.words[1] += 1

    sampler.recorder.ring.append = append_and_say
    sampler.run()


def forked(work):
    """Do ``work`` in a child of this process, which has loaded everything already; return its id."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        work()
    finally:
        os._exit(0)


@dataclass
class Sampler:
    """A sampler to kill: a child of this process, and the pipe that it takes for its agent."""

    pid: int
    orders: int
    spool: Path

    @classmethod
    def start(cls, folder, batch_s=1.0):
        spool = folder / "spool"
        taken, orders = os.pipe()

        def work():
            os.dup2(taken, 0)
            os.close(orders)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.environ[BATCH] = str(batch_s)
            sample()

        pid = forked(work)
        os.close(taken)
        config = SamplerConfig("n", str(spool), 0.1, run=f"{boot_id()[:8]}-{pid}")
        os.write(orders, msgspec.json.encode(config) + b"\n")
        return cls(pid, orders, spool)

    @property
    def ledger(self):
        return Ledger(self.spool.parent / f"ledger-{self.pid}")

    def wait_for_readings(self, count=1):
        wait_until(lambda: self.ledger.recorded >= count)

    def rotate(self):
        os.write(self.orders, b'{"do":"rotate"}\n')

    def kill(self, with_signal=signal.SIGKILL):
        os.kill(self.pid, with_signal)
        os.waitpid(self.pid, 0)
        os.close(self.orders)

    def left(self):
        """Return the numbers of the readings that can be recovered, as they come."""
        for ring in rings(self.spool):
            recover(ring, boot_id())
        tables = [read_segment(s) for s in leftovers(self.spool) if s.name.startswith("power-")]
        return [e - self.pid * PER_PROCESS for t in tables for e in t["energy_uj"].to_pylist()]


def agent_to_kill(folder, batch_s=1.0, seal_every_s=0.3):
    """Start an agent's power trace in a child, which seals again and again; return its id."""

    def work():
        os.environ[BATCH] = str(batch_s)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        trace = power_trace(folder)
        while True:
            time.sleep(seal_every_s)
            trace.seal()

    return forked(work)


def power_trace(folder):
    warehouse = folder / "warehouse"
    return PowerTrace.start(AgentConfig("n", str(warehouse)), folder, Warehouse.at(warehouse), COMMAND)


def sealed(folder):
    """Return, for each sampler that ran below ``folder``, its ledger and the numbers of its sealed readings."""
    rows = pq.read_table(folder / "warehouse" / "power")["energy_uj"].to_pylist()
    numbers = {}
    for row in rows:
        numbers.setdefault(row // PER_PROCESS, []).append(row % PER_PROCESS)
    ledgers = {int(p.name.partition("-")[2]): Ledger(p) for p in folder.glob("ledger-*")}
    return {pid: (ledger, numbers.get(pid, [])) for pid, ledger in ledgers.items()}


def whole(numbers, ledger):
    """Whether all readings that were recorded are there, once each, and none that was not given out."""
    counts = Counter(numbers)
    return (
        set(counts.values()) <= {1}
        and set(counts) == set(range(1, len(counts) + 1))
        and (ledger.recorded <= len(counts) <= ledger.given)
    )


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


if __name__ == "__main__":
    sample()
