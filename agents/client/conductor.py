"""The load client seen from the agent: starts worker processes, says what all of them do when, merges what they did.

It runs in the agent's own thread and sleeps until a worker says something. Clocks: its instants are those of the job's
clock, which runs as that of the node that it runs on, and may be put forward.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from joulemark.agents.client.job import (
    Begin,
    Broken,
    ClientJob,
    Done,
    Ended,
    Progress,
    Pulse,
    Ready,
    Report,
    Rested,
    Stop,
    Streams,
    Window,
)
from joulemark.agents.client.processes import Processes, processes_for
from joulemark.agents.client.search import IMPROVES, Level, levels
from joulemark.agents.client.verdict import Verdict

WINDOW_REQUESTS_PLANNED = 12
"""What the window is made for in median durations, since requests may be slower in it than in the warm-up."""
WARMUP_LIMIT_S = 120.0
"""A deployment that has not answered every stream once after this long past the warm-up is measured as it is."""
WARMUP_DURATIONS = 2.0
"""An open loop warms up for at least this many median durations: then as many end as begin."""
READY_LIMIT_S = 120.0
LEAD_US = 50_000
"""How long before an instant it is told to the workers."""
REPORT_S = 0.5
LISTEN_S = 0.2
GRACE_S = 30.0
FAILED_PER_STREAM, FAILED_AT_LEAST, FAILED_IN_OPEN_LOOP = 2, 6, 20
"""More failures in a row than this, with no answer between them, end the load."""
SEARCH_STREAMS_AT_MOST = 1024
"""Where nothing else bounds the search."""


class GivenUp(Exception):
    """No measurement is possible; ``broken`` says why."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(broken.error)
        self.broken = broken


@dataclass
class Conductor:
    """One load client for one trial."""

    job: ClientJob
    _processes: Processes
    _report: Callable[[Progress], None] = lambda _: None
    _ready: dict[int, Ready] = field(default_factory=dict)
    _rested: set[int] = field(default_factory=set)
    _ended: dict[int, Ended] = field(default_factory=dict)
    _tokens: dict[int, int] = field(default_factory=dict)
    _gone: set[int] = field(default_factory=set)
    _level: Level | None = None
    _durations_us: list[int] = field(default_factory=list)
    _failed_in_a_row: int = 0
    _last_error: str | None = None
    _reported: tuple[float, int] = (0.0, 0)

    @classmethod
    def start(cls, job: ClientJob, cpus: tuple[int, ...] | None = None) -> Conductor:
        """Start the worker processes, bound to ``cpus``, None for any."""
        workers = processes_for(job, len(os.sched_getaffinity(0)))
        jobs = [msgspec.structs.replace(job, worker=n, workers=workers) for n in range(workers)]
        return cls(job, Processes.start(jobs, cpus))

    def result(self, report: Callable[[Progress], None]) -> Done | Broken:
        """Run the load to its end and return what came of it; Broken where it could not be measured."""
        self._report = report
        try:
            return self._measure()
        except GivenUp as reason:
            self._stop()
            return reason.broken
        finally:
            self._processes.end()

    def kill(self) -> None:
        """End it at once, from any thread: ``result`` returns."""
        self._processes.kill()

    def _measure(self) -> Done:
        self._listen_until(lambda: len(self._ready) == len(self._processes), "warmup", READY_LIMIT_S)
        traffic = self._ready[0]
        rate, highest = self._rates()
        begin_us = self._now_us() + LEAD_US
        self._processes.tell(Begin(begin_us, rate))
        start_us, end_us = self._window(traffic, begin_us)
        self._processes.tell(Window(start_us, end_us))
        self._listen_until(lambda: self._now_us() >= end_us, "window", until_us=end_us)
        self._listen_until(lambda: len(self._ended) == len(self._processes), "drain", self.job.drain_s + GRACE_S)
        ended = [self._ended[n] for n in sorted(self._ended)]
        return Verdict(self.job, traffic, ended, start_us, end_us, highest).done()

    def _window(self, traffic: Ready, begin_us: int) -> tuple[int, int]:
        """Warm up; return the window's begin and end."""
        job = self.job
        warm_us = begin_us + round(job.warmup_s * 1e6)
        if not traffic.steady and traffic.duration_s is not None:
            end_us = begin_us + round(traffic.duration_s * 1e6)
            if end_us <= warm_us:
                raise GivenUp(
                    Broken(f"the schedule of {traffic.duration_s:g} s is over within the warm-up of {job.warmup_s:g} s")
                )
            self._listen_until(lambda: self._now_us() >= warm_us - LEAD_US, "warmup", until_us=warm_us)
            return warm_us, end_us
        self._durations_us.clear()
        limit_s = job.warmup_s + WARMUP_LIMIT_S
        self._listen_until(lambda: self._is_warm(begin_us, warm_us), "warmup", limit_s, until_us=warm_us, fails=False)
        if not self._durations_us:
            raise GivenUp(Broken(f"no request succeeded: {self._last_error}"))
        window_s = max(job.window_s, WINDOW_REQUESTS_PLANNED * statistics.median(self._durations_us) / 1e6)
        start_us = self._now_us() + LEAD_US
        return start_us, start_us + round(window_s * 1e6)

    def _is_warm(self, begin_us: int, warm_us: int) -> bool:
        now_us, answered = self._now_us(), self._durations_us
        if now_us < warm_us or not answered:
            return False
        streams = self.job.workload.concurrency
        if streams is not None:
            return len(answered) >= streams
        return now_us - begin_us >= WARMUP_DURATIONS * statistics.median(answered)

    def _rates(self) -> tuple[float | None, float | None]:
        """Return (rate to ask, highest rate), of conversations per second, where the load is a fraction of it."""
        load = self.job.workload.load
        if load is None or load.fraction is None:
            return None, None
        highest = self.job.highest_rate_per_s or self._search()
        return load.fraction * highest, highest

    def _search(self) -> float:
        """Return the highest rate of conversations that the deployment sustains."""
        best, median_us = 0.0, 0.0
        for streams in levels(self._most_streams()):
            self._level = level = Level(streams, self._now_us())
            self._processes.tell(Streams(streams, median_us / 1e6))
            self._listen_until(lambda: level.is_over(self._now_us()), "search")  # noqa: B023 -- called in here only
            rate = level.rate_per_s
            median_us = statistics.median(e.duration_us for e in level.ended)
            improved, best = rate >= IMPROVES * best, max(best, rate)
            if not improved:
                break
        self._level = None
        self._processes.tell(Streams(0, 0.0))
        everybody = len(self._processes)
        self._listen_until(lambda: len(self._rested) == everybody, "search", self.job.drain_s + GRACE_S)
        if not best:
            raise GivenUp(Broken(f"no request succeeded: {self._last_error}"))
        return best / self._ready[0].turns

    def _most_streams(self) -> int:
        asked = self.job.workload.max_in_flight or SEARCH_STREAMS_AT_MOST
        return min(asked, self.job.max_connections or asked)

    def _listen_until(
        self,
        over: Callable[[], bool],
        phase: str,
        limit_s: float = float("inf"),
        *,
        until_us: int | None = None,
        fails: bool = True,
    ) -> None:
        """Take what the workers say until ``over``. Raises GivenUp: after ``limit_s`` where that ``fails``."""
        give_up = time.monotonic() + limit_s
        while not over():
            if time.monotonic() > give_up:
                if not fails:
                    return
                raise GivenUp(Broken(f"a load client process did not answer in {limit_s:.0f} s ({phase})"))
            left_s = 0.0 if until_us is None else (until_us - self._now_us()) / 1e6
            for number, said in self._processes.listen(min(LISTEN_S, left_s) if left_s > 0 else LISTEN_S):
                self._hear(number, said)
            self._tell_progress(phase, left_s)
            if phase != "drain" and self._failed_in_a_row > self._failures_allowed():
                raise GivenUp(Broken(f"no request succeeded: {self._last_error}"))

    def _hear(self, number: int, said: Report | None) -> None:
        if isinstance(said, Pulse):
            self._tokens[number] = said.tokens
            if self._level is not None:
                self._level.take(said.ended)
            self._last_error = said.last_error or self._last_error
            for ended in said.ended:
                self._failed_in_a_row = 0 if ended.answered else self._failed_in_a_row + 1
                if ended.answered:
                    self._durations_us.append(ended.duration_us)
        elif isinstance(said, Ready):
            self._ready[number] = said
        elif isinstance(said, Rested):
            self._rested.add(number)
        elif isinstance(said, Ended):
            self._ended[number] = said
        elif isinstance(said, Broken):
            raise GivenUp(said)
        else:
            self._gone.add(number)
            if number in self._ended:
                return
            code = self._processes.exit_code(number)
            raise GivenUp(Broken(f"the load client ended without a result (exit code {code})"))

    def _failures_allowed(self) -> int:
        streams = self.job.workload.concurrency
        return FAILED_IN_OPEN_LOOP if streams is None else max(FAILED_AT_LEAST, FAILED_PER_STREAM * streams)

    def _tell_progress(self, phase: str, left_s: float) -> None:
        now, tokens = time.monotonic(), sum(self._tokens.values())
        since, before = self._reported
        if now - since >= REPORT_S:
            self._reported = now, tokens
            rate = max(0.0, (tokens - before) / (now - since)) if since else 0.0
            self._report(Progress(phase, rate, max(0.0, left_s)))

    def _stop(self) -> None:
        """Have the workers end well, so that their rows are kept; those that do not are killed."""
        self._processes.tell(Stop())
        missing = set(range(len(self._processes))) - set(self._ended) - self._gone
        give_up = time.monotonic() + GRACE_S / 10
        while missing and time.monotonic() < give_up:
            for number, said in self._processes.listen(LISTEN_S):
                if said is None or isinstance(said, Ended | Broken):
                    missing.discard(number)

    def _now_us(self) -> int:
        return self.job.clock.now_us()
