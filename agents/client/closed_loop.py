"""Closed loop: a fixed number of streams, each sending its next request when its last one ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from joulemark.agents.client.job import ClientJob
from joulemark.agents.client.request import Ask, TokenMeter, send
from joulemark.agents.clock import NodeClock
from joulemark.workloads.traffic import prompt_ids

PAUSE_AFTER_FAILURE_S = 0.2
"""A server that refuses at once must not be asked thousands of times a second."""


@dataclass
class ClosedLoop:
    """Streams over one session. ``keep`` receives every row; ``durations_us`` those of whole answers."""

    session: aiohttp.ClientSession
    job: ClientJob
    clock: NodeClock
    keep: Callable[[dict[str, Any]], None]
    meter: TokenMeter = field(default_factory=TokenMeter)
    durations_us: list[int] = field(default_factory=list)
    failures_in_a_row: int = 0
    last_error: str | None = None
    open: bool = True
    _next: int = 0

    async def stream(self, delay_s: float) -> None:
        """Be one stream: begin after ``delay_s``, go on until the loop is closed."""
        await asyncio.sleep(delay_s)
        while self.open:
            row = await send(self.session, self.job, self.clock, self._ask(), self.meter)
            self.keep(row)
            if row["status"] == "cancelled":
                return
            if row["status"] == "ok":
                self.failures_in_a_row = 0
                self.durations_us.append(row["ended_at"] - row["sent_at"])
            else:
                self.failures_in_a_row += 1
                self.last_error = row["error"]
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)

    def _ask(self) -> Ask:
        number, self._next = self._next, self._next + 1
        prompt = prompt_ids(
            self.job.workload_seed, self.job.prompt_seed, number, self.job.input_tokens, self.job.vocab_size
        )
        return Ask(number, prompt, time.monotonic_ns())
