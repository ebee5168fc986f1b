"""One process of the load client: does what the conductor says, when it says, and keeps a row of every request."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulemark.agents.client.address import Address
from joulemark.agents.client.answer import Answer
from joulemark.agents.client.closed_loop import ANSWERED, ClosedLoop
from joulemark.agents.client.connections import Connections, files_allowed
from joulemark.agents.client.health import LoopHealth
from joulemark.agents.client.job import (
    Begin,
    ClientJob,
    Command,
    Ended,
    EndedRequest,
    Pulse,
    Ready,
    Report,
    Rested,
    Streams,
    Window,
)
from joulemark.agents.client.open_loop import OpenLoop
from joulemark.agents.client.pacer import Pacer
from joulemark.agents.client.rows import RequestRows
from joulemark.agents.client.sender import Sender
from joulemark.agents.spool.segment import SegmentWriter, warm_up
from joulemark.warehouse.schema.traces import REQUESTS
from joulemark.workloads.traffic import Tables, Traffic, make_traffic, stagger_offsets

PULSE_S = 0.2
FLUSH_S = 0.4
SEARCH_FROM = 1 << 30
"""Requests of the search have numbers from here on."""


@dataclass
class Worker:
    """Runs its share of the job. ``say`` takes the reports, ``commands`` gives what to do."""

    job: ClientJob
    say: Callable[[Report], None]
    commands: asyncio.Queue[Command]
    pacer: Pacer = field(default_factory=Pacer)
    health: LoopHealth = field(default_factory=LoopHealth)
    _ended: list[EndedRequest] = field(default_factory=list)
    _tokens: int = 0
    _last_error: str | None = None
    _searching: ClosedLoop | None = None
    _load: ClosedLoop | OpenLoop | None = None

    async def run(self) -> None:
        """Run from Ready to Ended. Raises DiskFull, BadInput and OSError where the load cannot be made or kept."""
        job = self.job
        workload, clock = job.workload, job.clock
        tables = Tables.read(Path(job.tables)) if job.tables else Tables()
        self.traffic = make_traffic(workload, prompt_seed=job.prompt_seed, vocab_size=job.vocab_size, tables=tables)
        self.rows = RequestRows(job.trial, job.node, clock)
        self.writer = SegmentWriter(REQUESTS, Path(job.spool), f"requests-{job.trial}-w{job.worker}")
        self.sender = await self._sender()
        # The first time takes long, and would show as lateness; and what is wrong with the workload shows now.
        self.sender.prepare(self.traffic.request(0))
        warm_up(self.rows.example())
        self.pacer.start()
        self.health.start()
        async with asyncio.TaskGroup() as tasks:
            self._spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]] = tasks.create_task
            chores = [self._spawn(chore) for chore in (self.sender.sweep(), self._pulse(), self._flush())]
            traffic = self.traffic
            self.say(Ready(traffic.open_loop, traffic.steady, traffic.duration_s, traffic.turns))
            start_ns, end_ns = await self._obey()
            await self._drain(end_ns)
            for chore in chores:
                chore.cancel()
        self.pacer.stop()
        self.health.stop()
        self._write()
        segment = self.writer.rotate()
        lag_us, cpu = self.health.result(start_ns, end_ns)
        self.say(Ended(str(segment) if segment else None, lag_us, cpu, self.sender.resent))

    async def _obey(self) -> tuple[int, int]:
        """Do what is said until the load is to end; return the window's begin and end, on the monotonic clock."""
        at_ns = self.job.clock.monotonic_at_ns
        while True:
            command = await self.commands.get()
            if isinstance(command, Streams):
                await self._search(command)
            elif isinstance(command, Begin):
                self._begin(at_ns(command.at_us), command.rate_per_s)
            elif isinstance(command, Window):
                start_ns, end_ns = at_ns(command.start_us), at_ns(command.end_us)
                await self._window(end_ns)
                return start_ns, end_ns
            else:
                self.sender.recall(sent=True)
                return (now_ns := time.monotonic_ns()), now_ns

    async def _window(self, end_ns: int) -> None:
        """Hold the load until the window's end, or until Stop is said."""
        stop = asyncio.ensure_future(self.commands.get())
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, (end_ns - time.monotonic_ns()) / 1e9 - 0.02)):
                await stop
                self.sender.recall(sent=True)
                return
        await self.pacer.until(end_ns)

    async def _drain(self, end_ns: int) -> None:
        """Send nothing any more; let what is in flight end, for as long as the job grants."""
        load = self._load or self._searching
        if load is None:
            return
        load.finish(end_ns)
        try:
            async with asyncio.timeout(self.job.drain_s):
                await load.wait()
        except TimeoutError:
            self.sender.recall(sent=True)
            await load.wait()
        self.sender.connections.close()

    async def _search(self, wanted: Streams) -> None:
        job = self.job
        if self._searching is None:
            self._searching = self._closed_loop(self.traffic.saturating(), itertools.count(job.worker, job.workers))
        loop = self._searching
        if not wanted.total:
            loop.finish(0)
            await loop.wait()
            self._searching = None
            self.say(Rested())
            return
        own = range(job.worker, wanted.total, job.workers)
        new = own[len(loop.streams) :]
        now_ns = time.monotonic_ns()
        for delay_s in stagger_offsets(len(new), wanted.spread_s):
            loop.add(now_ns + round(delay_s * 1e9))

    def _begin(self, at_ns: int, rate_per_s: float | None) -> None:
        job, traffic = self.job, self.traffic
        if rate_per_s is not None:
            traffic = traffic.at_rate(rate_per_s)
        if traffic.open_loop:
            self._load = OpenLoop(self.sender, self.pacer, traffic, job.worker, job.workers, self._spawn)
            self._load.begin(at_ns)
            return
        assert job.workload.concurrency is not None
        self._load = self._closed_loop(traffic, itertools.count(job.worker, job.workers))
        delays_s = stagger_offsets(job.workload.concurrency, job.warmup_s / 2)
        for delay_s in delays_s[job.worker :: job.workers]:
            self._load.add(at_ns + round(delay_s * 1e9))

    def _closed_loop(self, traffic: Traffic, conversations: Iterable[int]) -> ClosedLoop:
        return ClosedLoop(self.sender, self.pacer, traffic, iter(conversations), self._spawn)

    def _keep(self, answer: Answer) -> None:
        number = answer.request.number
        self.rows.add(answer, number + SEARCH_FROM if self._searching is not None else number)
        self._tokens += answer.reader.seen
        if answer.status == "cancelled":
            return
        talk = self.job.workload.conversation
        pause_us = round(talk.pause_s * 1e6) if talk is not None and number % talk.turns else 0
        answered = answer.status in ANSWERED
        self._last_error = self._last_error if answered else answer.error
        self._ended.append(
            EndedRequest(
                self.job.clock.at_us(answer.ended_ns),
                (answer.ended_ns - (answer.sent_ns or answer.ended_ns)) // 1000,
                (answer.ended_ns - answer.scheduled_ns) // 1000 + pause_us,
                answered,
            )
        )

    async def _pulse(self) -> None:
        while True:
            await asyncio.sleep(PULSE_S)
            ended, self._ended = tuple(self._ended), []
            self.say(Pulse(self._tokens + self.sender.tokens, ended, self._last_error))

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._write()

    def _write(self) -> None:
        batch = self.rows.take()
        if batch is not None:
            self.writer.write(batch)

    async def _sender(self) -> Sender:
        job = self.job
        allowed = files_allowed()
        limit = min(allowed, -(-job.max_connections // job.workers)) if job.max_connections else allowed
        connections = Connections(Address.parse(job.url), job.reuse_connections, limit)
        await connections.prepare()
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", "User-Agent": "joulemark"}
        if not job.reuse_connections:
            headers["Connection"] = "close"
        if job.api_key:
            headers["Authorization"] = f"Bearer {job.api_key}"
        asked = {"model": job.model, "stream": True}
        counted = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
        return Sender(
            connections=connections,
            common={**asked, **counted, **job.body},
            fixed_length=job.fixed_length,
            headers=headers,
            request_timeout_s=job.request_timeout_s,
            stall_timeout_s=job.stall_timeout_s,
            keep=self._keep,
        )
