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

    def wait(self, deadline_ns: int) -> list[Order] | None:
        """Return the orders that came before ``deadline_ns`` as soon as they do; None where the pipe has ended."""
        # Also looked at when the deadline has gone by: a sampler that is always late must still obey.
        left_s = max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9)
        if not select.select([self.descriptor], [], [], left_s)[0]:
            return []
        received = os.read(self.descriptor, 1 << 16)
        if not received:
            return None
        *lines, self._begun = (self._begun + received).split(b"\n")
        orders = [msgspec.json.decode(line, type=Order) for line in lines]
        return orders or self.wait(deadline_ns)

    def first_line(self) -> bytes:
        """Return the first line; what follows stays in the pipe, where ``wait`` sees it."""
        received = b""
        while not received.endswith(b"\n"):
            byte = os.read(self.descriptor, 1)
            if not byte:
                break
            received += byte
        return received
