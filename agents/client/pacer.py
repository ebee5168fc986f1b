"""One clock for all that a process does by the clock: waits for absolute instants, and resumes what is due."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from dataclasses import dataclass, field

from joulemark.agents.client.alarm import Alarm


@dataclass
class Pacer:
    """Waits of coroutines of the running loop, on one alarm. Instants are those of ``time.monotonic_ns``."""

    _waits: list[tuple[int, int, asyncio.Future[None]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _alarm: Alarm | None = None

    def start(self) -> None:
        """Begin on the running loop."""
        self._alarm = Alarm(self._rings)

    def stop(self) -> None:
        """Resume nothing any more."""
        assert self._alarm is not None
        self._alarm.close()

    async def until(self, at_ns: int) -> None:
        """Return at ``at_ns`` or, where that has gone by, as soon as the loop has seen to what else there is.

        ``wake`` makes it return before.
        """
        if at_ns <= time.monotonic_ns():
            await asyncio.sleep(0)
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waits, (at_ns, next(self._order), turn))
        if self._waits[0][2] is turn:
            self._set()
        await turn

    def wake(self) -> None:
        """Resume all that waits, whatever it waits for."""
        for _, _, turn in self._waits:
            if not turn.done():
                turn.set_result(None)
        self._waits.clear()

    def _rings(self, _: int) -> None:
        now_ns = time.monotonic_ns()
        while self._waits and (self._waits[0][0] <= now_ns or self._waits[0][2].done()):
            _, _, turn = heapq.heappop(self._waits)
            if not turn.done():
                turn.set_result(None)
        self._set()

    def _set(self) -> None:
        if self._waits:
            assert self._alarm is not None
            self._alarm.set(self._waits[0][0])
