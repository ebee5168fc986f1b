"""Closed loop: a fixed number of streams, each sending its next request when its last one ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from joulemark.agents.client.answer import Answer
from joulemark.agents.client.pacer import Pacer
from joulemark.agents.client.sender import Sender
from joulemark.workloads.traffic import Request, Traffic

NS_PER_S = 1_000_000_000
ANSWERED = frozenset({"ok", "truncated"})
PAUSE_AFTER_FAILURE_S = (0.2, 5.0)
"""A server that refuses at once must not be asked thousands of times a second: the first pause, doubled up to this."""
RETRY_AFTER_AT_MOST_S = 30.0

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


@dataclass
class ClosedLoop:
    """Streams over one sender. ``conversations`` are the numbers of those that this process asks, without end."""

    sender: Sender
    pacer: Pacer
    traffic: Traffic
    conversations: Iterator[int]
    spawn: Spawn
    streams: list[asyncio.Task[None]] = field(default_factory=list)
    _over: bool = False

    def add(self, begin_ns: int) -> None:
        """Add a stream whose first request is due at ``begin_ns``."""
        self.streams.append(self.spawn(self._stream(begin_ns)))

    def finish(self, _: int) -> None:
        """Send nothing any more."""
        self._over = True
        self.sender.recall()
        self.pacer.wake()

    async def wait(self) -> None:
        """Return when all that was sent has ended."""
        if self.streams:
            await asyncio.wait(self.streams)

    async def _stream(self, begin_ns: int) -> None:
        await self.pacer.until(begin_ns)
        due_ns, pause_s = begin_ns, PAUSE_AFTER_FAILURE_S[0]
        request: Request | None = None
        while not self._over:
            if request is None or request.pause_s is None:
                request = self.traffic.request(next(self.conversations) * self.traffic.turns)
            else:
                due_ns += round(request.pause_s * NS_PER_S)
                request = self.traffic.request(request.number + 1)
                await self.pacer.until(due_ns)
                if self._over:
                    return
            answer = await self.sender.send(self.sender.prepare(request), due_ns)
            due_ns = answer.ended_ns
            if answer.status in ANSWERED:
                pause_s = PAUSE_AFTER_FAILURE_S[0]
            elif answer.status == "cancelled":
                return
            else:
                await self.pacer.until(due_ns + round(max(pause_s, _asked_to_wait(answer)) * NS_PER_S))
                due_ns = time.monotonic_ns()
                pause_s = min(2 * pause_s, PAUSE_AFTER_FAILURE_S[1])


def _asked_to_wait(answer: Answer) -> float:
    """Return the seconds that a refusal asked to wait, within reason."""
    return min(answer.retry_after_s or 0.0, RETRY_AFTER_AT_MOST_S)
