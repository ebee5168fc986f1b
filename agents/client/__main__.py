"""One process of the load client: the job is the first line of stdin, commands follow, reports go to stdout."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator

import msgspec
import uvloop

from joulemark.agents.client.job import Broken, ClientJob, Command, Report
from joulemark.agents.client.worker import Worker
from joulemark.agents.priority import prefer_me
from joulemark.warehouse.errors import DiskFull, JoulemarkError

STDIN, STDOUT = 0, 1
ORPHANED = 3
"""Exit code of a client whose agent is gone."""


def main() -> None:
    """Read the job, run it, report."""
    lines = _lines()
    job = msgspec.json.decode(next(lines), type=ClientJob)
    prefer_me()
    try:
        uvloop.run(_run(job, lines))
    except* DiskFull as errors:
        _say(Broken(str(errors.exceptions[0]), "disk_full"))
    except* (JoulemarkError, OSError) as errors:
        _say(Broken(str(errors.exceptions[0])))


async def _run(job: ClientJob, lines: Iterator[bytes]) -> None:
    commands: asyncio.Queue[Command] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def listen() -> None:
        """Pass on what is said; load without an agent must not go on."""
        for line in lines:
            loop.call_soon_threadsafe(commands.put_nowait, msgspec.json.decode(line, type=Command))
        os._exit(ORPHANED)

    threading.Thread(target=listen, daemon=True).start()
    # What is there now stays: collecting it again and again would stop the clock for nothing.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    await Worker(job, _say, commands).run()


def _lines() -> Iterator[bytes]:
    rest = b""
    while data := os.read(STDIN, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _say(report: Report) -> None:
    line = memoryview(msgspec.json.encode(report) + b"\n")
    while line:
        line = line[os.write(STDOUT, line) :]


if __name__ == "__main__":
    main()
