"""The load client seen from the agent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from joulemark.agents.client.job import Broken, ClientJob, Done, Progress, Report


@dataclass
class ClientProcess:
    """One load client for one trial."""

    job: ClientJob
    _process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, job: ClientJob) -> ClientProcess:
        """Start the client; it begins to send at once."""
        process = subprocess.Popen(
            [sys.executable, "-m", "joulemark.agents.client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        process.stdin.flush()
        return cls(job, process)

    def result(self, report: Callable[[Progress], None]) -> Done | Broken:
        """Wait for the client's last word; Broken where it ended without one."""
        assert self._process.stdout is not None
        last: Done | Broken | None = None
        for text in self._process.stdout:
            said = msgspec.json.decode(text, type=Report)
            if isinstance(said, Progress):
                report(said)
            else:
                last = said
        code = self._process.wait()
        return last or Broken(f"the load client ended without a result (exit code {code})")

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
