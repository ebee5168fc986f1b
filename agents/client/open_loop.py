"""Open loop: requests are sent when they are due, whether or not others have been answered.

Every request has an absolute deadline on one clock. One that is late is sent at once; its ``scheduled_at`` stays the
schedule's, so that no debt is forgiven.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from joulemark.agents.client.closed_loop import NS_PER_S, Spawn
from joulemark.agents.client.pacer import Pacer
from joulemark.agents.client.sender import Prepared, Sender
from joulemark.workloads.traffic import Traffic


@dataclass
class OpenLoop:
    """The share ``worker`` of ``workers`` of the schedule."""

    sender: Sender
    pacer: Pacer
    traffic: Traffic
    worker: int
    workers: int
    spawn: Spawn
    _end_ns: int | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def begin(self, begin_ns: int) -> None:
        """Begin the schedule at an instant."""
        self._go(self._run(begin_ns))

    def finish(self, end_ns: int) -> None:
        """Send nothing any more. What was due before ``end_ns`` and could not be sent becomes a row all the same."""
        self._end_ns = end_ns
        self.sender.recall()
        self.pacer.wake()

    async def wait(self) -> None:
        """Return when all that was sent has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, begin_ns: int) -> None:
        for conversation, due_s in enumerate(self.traffic.due_s()):
            if conversation % self.workers != self.worker:
                continue
            due_ns = begin_ns + round(due_s * NS_PER_S)
            if self._is_past(due_ns):
                return
            # Made ready before it is due, so that sending it takes no time then.
            prepared = self.sender.prepare(self.traffic.request(conversation * self.traffic.turns))
            await self.pacer.until(due_ns)
            if self._is_past(due_ns):
                return
            self._go(self._talk(prepared, due_ns))

    async def _talk(self, prepared: Prepared, due_ns: int) -> None:
        """Ask all of one conversation, each turn its pause after the answer before it."""
        while True:
            if self._end_ns is not None:
                self.sender.give_up(prepared, due_ns)
                return
            answer = await self.sender.send(prepared, due_ns, owed=True)
            pause_s = prepared.request.pause_s
            if pause_s is None or answer.status == "cancelled":
                return
            due_ns = answer.ended_ns + round(pause_s * NS_PER_S)
            if self._is_past(due_ns):
                return
            prepared = self.sender.prepare(self.traffic.request(prepared.request.number + 1))
            await self.pacer.until(due_ns)
            if self._is_past(due_ns):
                return

    def _is_past(self, due_ns: int) -> bool:
        """Whether it is due only after the load's end."""
        return self._end_ns is not None and due_ns >= self._end_ns

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.spawn(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
