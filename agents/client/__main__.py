"""Run one load client: the job is the first line of stdin, reports go to stdout."""

from __future__ import annotations

import os
import sys
import threading

import msgspec
import uvloop

from joulemark.agents.client.job import Broken, ClientJob, Report
from joulemark.agents.client.trial import ClientTrial
from joulemark.agents.priority import prefer_me
from joulemark.warehouse.errors import DiskFull, JoulemarkError


def main() -> None:
    """Read the job, run it, report."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=ClientJob)
    prefer_me()
    threading.Thread(target=_end_with_the_agent, daemon=True).start()
    try:
        _say(uvloop.run(ClientTrial(job, _say).run()))
    except DiskFull as error:
        _say(Broken(str(error), "disk_full"))
    except (JoulemarkError, OSError) as error:
        _say(Broken(str(error)))


def _end_with_the_agent() -> None:
    """Wait, without using any CPU, for the end of stdin: load without an agent must not go on."""
    while os.read(0, 1024):
        continue
    os._exit(3)


def _say(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


main()
