"""The agent's orders, waited for until the next read is due."""

from __future__ import annotations

import os
import select
import time
from dataclasses import dataclass

import msgspec

from joulemark.agents.sampler.protocol import Order


@dataclass
class Inbox:
    """Orders as lines from a pipe, stdin by default."""

    descriptor: int = 0
    _begun: bytes = b""

    def __post_init__(self) -> None:
        self._poll = select.poll()
        self._poll.register(self.descriptor, select.POLLIN)

    def wait(self, deadline_ns: int) -> list[Order] | None:
        """Sleep until ``deadline_ns`` and return the orders that have come by then; None where the pipe has ended.

        Waiting for the pipe as well would wake up for an order at once, and costs a third more CPU time per wake.
        """
        left_ns = deadline_ns - time.monotonic_ns()
        if left_ns > 0:
            time.sleep(left_ns / 1e9)
        if not self._poll.poll(0):
            return []
        received = os.read(self.descriptor, 1 << 16)
        if not received:
            return None
        *lines, self._begun = (self._begun + received).split(b"\n")
        return [msgspec.json.decode(line, type=Order) for line in lines]

    def first_line(self) -> bytes:
        """Return the first line; what follows stays in the pipe, where ``wait`` sees it."""
        received = b""
        while not received.endswith(b"\n"):
            byte = os.read(self.descriptor, 1)
            if not byte:
                break
            received += byte
        return received
