"""Builds the scripted server and runs it.

::

    binary = build(folder)                                            # raises NoCompiler
    with ScriptedServer(folder, binary, Script([Answer(steady(50, 0.02))])) as server:
        ...                                                           # requests to server.url
        truth = server.truth()

The server ends with its block, and with the process that started it, whose end closes its stdin.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from script_file import Script
from server_truth import Truth, read_truth

SOURCES = Path(__file__).parent
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")


class NoCompiler(Exception):
    """There is no C compiler on this machine."""


def build(folder: Path) -> Path:
    """Compile the server into ``folder`` and return the program. Raises NoCompiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompiler("no C compiler (cc, gcc or clang): install one to run what needs the scripted server")
    program = folder / "scripted-server"
    sources = [str(s) for s in sorted(SOURCES.glob("*.c"))]
    subprocess.run([compiler, *FLAGS, "-o", str(program), *sources], check=True)
    return program


@dataclass
class ScriptedServer:
    """One server and the script it plays. ``core`` pins it."""

    folder: Path
    program: Path
    script: Script
    core: int | None = None
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._running.pid

    @property
    def cpu_s(self) -> float:
        """CPU time that it has used, user and system."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        """Write the script and start; it listens when this returns."""
        (self.folder / "script").write_bytes(self.script.encoded())
        self._process = subprocess.Popen(
            [str(self.program), str(self.folder / "script"), str(self.folder / "truth")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self.core is not None:
            os.sched_setaffinity(self.pid, {self.core})
        self.port = int(self._said())
        return self

    def __exit__(self, *_: object) -> None:
        """End it; it writes what it did before it goes."""
        process = self._running
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(30)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a server that crashes: what it did is lost."""
        self._running.kill()
        self._running.wait()

    def truth(self) -> Truth:
        """Return what it has done so far, or did until its block ended."""
        if self._running.poll() is None:
            self._order("truth")
        return read_truth(self.folder / "truth", self.script)

    def forget(self) -> None:
        """Forget the requests that have ended."""
        self._order("forget")

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not started"
        return self._process

    def _order(self, word: str) -> None:
        assert self._running.stdin is not None
        self._running.stdin.write(f"{word}\n".encode())
        self._running.stdin.flush()
        self._said()

    def _said(self) -> str:
        assert self._running.stdout is not None
        line = self._running.stdout.readline().decode()
        assert line, f"the scripted server ended with {self._running.wait()}"
        return line
