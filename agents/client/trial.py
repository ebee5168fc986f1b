"""One trial from the client's side: warm up, hold the window open, drain, sum up."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from joulemark.agents.client.closed_loop import ClosedLoop
from joulemark.agents.client.health import LoopHealth
from joulemark.agents.client.job import Broken, ClientJob, Done, Progress, Report
from joulemark.agents.clock import NodeClock
from joulemark.agents.spool.segment import SegmentWriter
from joulemark.warehouse.schema.traces import REQUESTS
from joulemark.workloads.traffic import stagger_offsets

WINDOW_REQUESTS = 10
"""A window is at least this many median request durations long."""
WINDOW_REQUESTS_PLANNED = 12
"""What the window is made for, since requests of the window may be slower than those of the warm-up."""
IN_FLIGHT_AT_LEAST = 0.95
LAG_P99_AT_MOST_US = 5_000
CPU_AT_MOST = 0.80
WARMUP_LIMIT_S = 120.0
"""A deployment that has not answered every stream once after this long past the warm-up is measured as it is."""
REPORT_S = 0.5


@dataclass
class ClientTrial:
    """Runs the job and returns its Done or Broken."""

    job: ClientJob
    say: Callable[[Report], None]
    clock: NodeClock = field(default_factory=NodeClock.of_this_node)
    health: LoopHealth = field(default_factory=LoopHealth)
    _spans: list[tuple[int, int, str]] = field(default_factory=list)

    async def run(self) -> Report:
        """Run the whole trial."""
        writer = SegmentWriter(REQUESTS, Path(self.job.spool), f"requests-{self.job.trial}")

        def keep(row: dict[str, Any]) -> None:
            self._spans.append((row["sent_at"], row["ended_at"], row["status"]))
            writer.add(row)

        async with self._session() as session:
            loop = ClosedLoop(session, self.job, self.clock, keep)
            delays = stagger_offsets(self.job.concurrency, self.job.warmup_s / 2)
            streams = [asyncio.create_task(loop.stream(d)) for d in delays]
            beat = asyncio.create_task(self.health.beat())
            try:
                window = await self._measure(loop, streams)
            finally:
                loop.open = False
                self.say(Progress("drain", 0.0, 0.0))
                _, late = await asyncio.wait(streams, timeout=self.job.drain_s)
                for stream in late:
                    stream.cancel()
                await asyncio.gather(*streams, return_exceptions=False)
                beat.cancel()
        segment = writer.rotate()
        if window is None:
            return Broken(f"no request succeeded: {loop.last_error}")
        return self._done(loop, str(segment) if segment else None, *window)

    async def _measure(
        self, loop: ClosedLoop, streams: Sequence[asyncio.Task[None]]
    ) -> tuple[int, int, int, float] | None:
        """Return (start, end, lag p99, CPU share) of the window, None where the engine does not serve.

        Raises what ended a stream: none ends by itself while the loop is open.
        """
        begun = time.monotonic()
        limit_s = self.job.warmup_s + WARMUP_LIMIT_S
        while (elapsed := time.monotonic() - begun) < self.job.warmup_s or (
            len(loop.durations_us) < self.job.concurrency and elapsed < limit_s
        ):
            if loop.failures_in_a_row > 2 * self.job.concurrency:
                return None
            await self._wait(loop, streams, "warmup", self.job.warmup_s - elapsed)
        if not loop.durations_us:
            return None
        window_s = max(self.job.window_s, WINDOW_REQUESTS_PLANNED * statistics.median(loop.durations_us) / 1e6)
        loop.durations_us.clear()
        self.health.restart()
        start_ns = time.monotonic_ns()
        end_ns = start_ns + round(window_s * 1e9)
        while (left_s := (end_ns - time.monotonic_ns()) / 1e9) > 0:
            if loop.failures_in_a_row > 2 * self.job.concurrency:
                return None
            await self._wait(loop, streams, "window", left_s)
        lag_p99_us, cpu_fraction = self.health.result()
        return self.clock.at_us(start_ns), self.clock.at_us(end_ns), lag_p99_us, cpu_fraction

    async def _wait(self, loop: ClosedLoop, streams: Sequence[asyncio.Task[None]], phase: str, left_s: float) -> None:
        tokens, begun = loop.meter.tokens, time.monotonic()
        await asyncio.sleep(min(REPORT_S, left_s) if left_s > 0 else 0.05)
        for stream in streams:
            if stream.done():
                stream.result()
        elapsed = time.monotonic() - begun
        if elapsed >= REPORT_S:
            self.say(Progress(phase, (loop.meter.tokens - tokens) / elapsed, max(0.0, left_s - elapsed)))

    def _done(
        self, loop: ClosedLoop, segment: str | None, start_us: int, end_us: int, lag_p99_us: int, cpu: float
    ) -> Done:
        inside = [(max(a, start_us), min(b, end_us), s) for a, b, s in self._spans if b > start_us and a < end_us]
        in_flight = sum(b - a for a, b, _ in inside) / ((end_us - start_us) * self.job.concurrency)
        ended = [status for _, b, status in self._spans if start_us <= b < end_us]
        median_us = round(statistics.median(loop.durations_us)) if loop.durations_us else None
        reasons = []
        if median_us is None or end_us - start_us < WINDOW_REQUESTS * median_us:
            reasons.append("window_too_short")
        if in_flight < IN_FLIGHT_AT_LEAST:
            reasons.append("not_steady")
        if lag_p99_us > LAG_P99_AT_MOST_US or cpu > CPU_AT_MOST:
            reasons.append("client_bound")
        return Done(
            segment=segment,
            window_start_us=start_us,
            window_end_us=end_us,
            in_flight_fraction=in_flight,
            lag_p99_us=lag_p99_us,
            cpu_fraction=cpu,
            median_request_us=median_us,
            completed=sum(s == "ok" for s in ended),
            failed=sum(s != "ok" for s in ended),
            reasons=tuple(reasons),
        )

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, force_close=not self.job.reuse_connections)
        headers = {"Content-Type": "application/json"}
        if self.job.api_key:
            headers["Authorization"] = f"Bearer {self.job.api_key}"
        return aiohttp.ClientSession(
            self.job.url, connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(total=None)
        )
