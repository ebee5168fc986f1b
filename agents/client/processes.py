"""The worker processes of one load client, seen from the agent: started, told, listened to, ended."""

from __future__ import annotations

import math
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from joulemark.agents.client.job import Broken, ClientJob, Command, Report

_decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
STREAMS_EACH = 256
"""Streams of one process: an engine gives all a token at about the same time, and the last waits for the others."""
CHUNKS_PER_S_EACH = 15_000
UNKNOWN_NEEDS = 4
CORES_EACH = 4
"""There is a process for each so many cores at most: the engine's host process needs some too."""


def processes_for(job: ClientJob, cores: int) -> int:
    """Return how many processes the job's load needs, as far as it can be known beforehand.

    A closed loop says how many streams there are. An open loop says it by its rate and lengths, where they are numbers;
    a schedule, a trace and a load that is still to be found get as many processes as there may be, up to four.
    """
    if job.processes:
        return job.processes
    asked = job.workload
    if not isinstance(asked.arrivals, str):
        rate, tokens = asked.arrivals.rate_per_s, asked.output_tokens
        needed = UNKNOWN_NEEDS
        if rate is not None and isinstance(tokens, int):
            needed = math.ceil(rate * tokens / CHUNKS_PER_S_EACH)
    else:
        needed = -(-(asked.concurrency or 1) // STREAMS_EACH)
    return max(1, min(needed, cores // CORES_EACH))


@dataclass
class Processes:
    """All workers. What each says comes through ``listen``, in the order in which it arrives."""

    _workers: list[subprocess.Popen[bytes]]
    _selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)
    _rests: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def start(cls, jobs: Sequence[ClientJob], cpus: tuple[int, ...] | None = None) -> Processes:
        """Start one worker for each job, bound to ``cpus``, None for any."""
        started = cls([])
        try:
            for number, job in enumerate(jobs):
                worker = subprocess.Popen(
                    [sys.executable, "-m", "joulemark.agents.client"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                )
                started._workers.append(worker)
                if cpus is not None:
                    os.sched_setaffinity(worker.pid, cpus)
                assert worker.stdout is not None
                started._selector.register(worker.stdout, selectors.EVENT_READ, number)
                started._rests[number] = b""
                started._write(worker, msgspec.json.encode(job))
        except BaseException:
            started.end()
            raise
        return started

    def __len__(self) -> int:
        return len(self._workers)

    def tell(self, command: Command) -> None:
        """Say the same to all; one that is gone will be missed where it is listened to."""
        line = msgspec.json.encode(command)
        for worker in self._workers:
            self._write(worker, line)

    def listen(self, timeout_s: float) -> Iterator[tuple[int, Report | None]]:
        """Yield (worker, what it said) of all that is said within ``timeout_s`` seconds, until nothing is left to read.

        None is said by one that ended.
        """
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            number = key.data
            data = os.read(key.fd, 1 << 16)
            *lines, self._rests[number] = (self._rests[number] + data).split(b"\n")
            for line in lines:
                yield number, self._decode(line)
            if not data:
                self._selector.unregister(key.fileobj)
                yield number, None

    def exit_code(self, number: int) -> int:
        """Return the exit code of a worker that ended."""
        return self._workers[number].wait()

    def kill(self) -> None:
        """End all at once. May be called from any thread."""
        for worker in self._workers:
            worker.kill()

    def end(self) -> None:
        """End those that have not, and let go of what they held."""
        self.kill()
        for worker in self._workers:
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                assert pipe is not None
                try:
                    pipe.close()
                except BrokenPipeError:
                    # What could not be said any more is not said.
                    continue
        self._selector.close()

    @staticmethod
    def _write(worker: subprocess.Popen[bytes], line: bytes) -> None:
        assert worker.stdin is not None
        try:
            worker.stdin.write(line + b"\n")
            worker.stdin.flush()
        except (BrokenPipeError, ValueError):
            # It ended: listen says so.
            return

    @staticmethod
    def _decode(line: bytes) -> Report:
        try:
            return _decoder.decode(line)
        except msgspec.MsgspecError as error:
            return Broken(f"a load client process said what is none of its words: {line[:80]!r}: {error}")
