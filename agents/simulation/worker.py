"""The simulated engine's loop: steps at the instants at which the model has them, energy on the GPUs' counters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from typing import Protocol

from joulemark.agents.simulation.gpu_file import GpuFile, GpuState
from joulemark.workloads.simulation.batching import Batcher, Sequence, Step
from joulemark.workloads.simulation.machine import Cost, cost

NS_PER_S = 1_000_000_000
SLIP_NS = 100_000_000
"""Steps that are later than this are not made up for: from there on all is later, and the page of metrics says so."""


class Receiver(Protocol):
    """Who gets the tokens of a request."""

    def token(self, *, last: bool) -> None:
        """Take one token."""


@dataclass
class Worker:
    """Runs steps as long as there are requests. ``slow`` makes every step so many times as long."""

    batcher: Batcher
    gpus: Many[GpuFile]
    slow: float = 1.0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    flops: float = 0.0
    read_bytes: float = 0.0
    slipped_s: float = 0.0
    _states: list[GpuState] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def occupy(self) -> None:
        """Come to the GPUs: weights and cache are there from now on."""
        machine = self.batcher.machine
        self._states = [gpu.occupy(machine.idle_w, machine.memory_bytes, machine.limit_w) for gpu in self.gpus]

    def leave(self) -> None:
        """Give the GPUs back."""
        for gpu, state in zip(self.gpus, self._states, strict=True):
            gpu.leave(state.pid, self.batcher.machine.bare_idle_w)

    def add(self, sequence: Sequence) -> bool:
        """Take a request; return whether it can ever be worked on."""
        self._arrived.set()
        return self.batcher.add(sequence)

    async def run(self) -> None:
        """Work until cancelled."""
        due_ns = time.monotonic_ns()
        while True:
            step = self.batcher.plan()
            if step is None:
                self._arrived.clear()
                await self._arrived.wait()
                due_ns = time.monotonic_ns()
                continue
            price = cost(self.batcher.machine, step.load)
            begin_ns, due_ns = due_ns, due_ns + round(price.seconds * self.slow * NS_PER_S)
            self._charge(begin_ns, due_ns, price)
            # Also where it is due already: what has arrived meanwhile is to be read.
            await asyncio.sleep(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)
            late_ns = time.monotonic_ns() - due_ns
            if late_ns > SLIP_NS:
                self.slipped_s += late_ns / NS_PER_S
                due_ns += late_ns
            self._hand_out(step, price)

    def _charge(self, begin_ns: int, end_ns: int, price: Cost) -> None:
        for place, gpu in enumerate(self.gpus):
            shares = price.compute_share, price.memory_share
            self._states[place] = self._states[place].busy_from(begin_ns, end_ns, price.watts, shares)
            gpu.write(self._states[place])

    def _hand_out(self, step: Step, price: Cost) -> None:
        self.flops += price.flops
        self.read_bytes += price.read_bytes
        self.prompt_tokens += step.load.prompt_tokens
        ended = set(self.batcher.finish(step))
        for sequence in (*self.batcher.running, *ended):
            self.generated_tokens += 1
            receiver: Receiver = sequence.tag  # type: ignore[assignment] # the server's requests are all its receivers
            receiver.token(last=sequence in ended)
