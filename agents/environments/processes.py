"""Running installers: their output kept in a file, their progress told, their failure put into one line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from joulemark.warehouse.errors import MissingTool

Report = Callable[[str], None]

REPORT_EVERY_S = 2.0
_POLL_S = 0.1
_STOP_GRACE_S = 5.0
_LINE_LIMIT = 400
_UNWANTED = ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV")
_SAYS_WHY = re.compile(r"^(error|hint|cause|warning: failed)\b|no solution|because |error:", re.IGNORECASE)


def child_environment() -> dict[str, str]:
    """Return this process's variables without those that would point another interpreter at our files.

    Bytecode must be written, or every start of an engine compiles its sources anew.
    """
    return {key: value for key, value in os.environ.items() if key not in _UNWANTED}


@dataclass(frozen=True)
class Runner:
    """Runs the commands that make one environment.

    ``folder`` is what grows, ``log`` receives all output, ``lock`` is a descriptor that the commands inherit, so that
    a command that outlives us keeps others out of the folder.
    """

    name: str
    folder: Path
    log: Path
    lock: int
    report: Report

    def run(self, command: Sequence[str]) -> None:
        """Run one command to its end. Raises MissingTool, with the reason from its output, where it fails."""
        with self.log.open("ab") as output:
            output.write(f"$ {Path(command[0]).name} {' '.join(command[1:])}\n".encode())
            output.flush()
            start = output.tell()
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Installers read settings from the project that they are started in.
                cwd=self.folder.parent,
                env=child_environment(),
                pass_fds=(self.lock,),
                start_new_session=True,
            )
        try:
            self._watch(child)
        except BaseException:
            _stop(child)
            raise
        if child.returncode:
            said = self.log.read_bytes()[start:].decode(errors="replace")
            raise MissingTool(
                f"cannot make the environment {self.name}: {condensed(said)} (whole output: {self.log}); check the "
                "network and the disk and run the same command again, or name a prepared environment as "
                "`environment:` of the engine in the sweep file"
            )

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        began = told = time.monotonic()
        while child.poll() is None:
            time.sleep(_POLL_S)
            now = time.monotonic()
            if now - told < REPORT_EVERY_S:
                continue
            size_mb = folder_bytes(self.folder) / 1e6
            self.report(f"{self.name}: {now - began:.0f} s, {size_mb:.0f} MB on disk: {last_line(self.log)}")
            # Walking a big folder takes time itself; the pause begins after it.
            told = time.monotonic()


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below ``folder``; files that vanish meanwhile count as 0."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def last_line(log: Path) -> str:
    """Return the last line of a text file that says something, shortened."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line for line in _plain(file.read().decode(errors="replace")) if not line.startswith("WARNING")]
    return lines[-1][:100] if lines else "starting"


def condensed(output: str) -> str:
    """Return the reason in an installer's output as one line: what its error lines say, else its last lines."""
    lines = _plain(output)
    first = next((i for i, line in enumerate(lines) if _SAYS_WHY.search(line)), max(0, len(lines) - 3))
    text = " ".join(lines[first:]) or "the installer said nothing"
    return text if len(text) <= _LINE_LIMIT else f"{text[:_LINE_LIMIT]}..."


def _plain(output: str) -> list[str]:
    """Return the lines without boxes, arrows and blank ones."""
    lines = (re.sub(r"[^\x20-\x7e]+", " ", line).strip(" x") for line in re.split(r"[\r\n]+", output))
    return [re.sub(r"\s+", " ", line) for line in lines if line]


def _stop(child: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, sign)
            child.wait(_STOP_GRACE_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
