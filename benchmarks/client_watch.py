"""What the client benchmarks share: a pinned server, a pinned client, and the CPU time of a client's whole tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "scripted_server"))
from answers import Answer, Step
from script_file import Script
from server_process import ScriptedServer
from server_truth import Truth

EVERY_S = 0.1
QUIET, QUIET_S = 0.1, 2.0
"""A machine is quiet where nothing else uses more of a core than this; and for how long that is looked at."""
TICKS = os.sysconf("SC_CLK_TCK")


@cache
def cores() -> tuple[int, int]:
    """Return the core for the server and for this process, and the one for the client. Ends where there is one only."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2 or shutil.which("taskset") is None:
        sys.exit("these benchmarks take two cores and taskset (util-linux)")
    return allowed[0], allowed[1]


def spread(chunks: int, gap_s: float, ttft_s: float, phases: int = 20) -> list[Answer]:
    """Return answers of equal chunks whose first ones lie evenly over a gap, so that streams do not march in step."""
    return [
        Answer((Step(ttft_s + gap_s * i / phases), *[Step(gap_s)] * (chunks - 1)), input_tokens=16)
        for i in range(phases)
    ]


@contextmanager
def serving(
    folder: Path, program: Path, answers: Sequence[Answer], core: int, *, bodies: bool = False
) -> Iterator[ScriptedServer]:
    """Run the scripted server on one core; chunks tell their usage to those who ask for it."""
    folder.mkdir(parents=True, exist_ok=True)
    script = Script(answers, order=range(len(answers)), as_asked=True, keep_bodies=bodies)
    with ScriptedServer(folder, program, script, core=core) as server:
        # What else the machine does must not make it late.
        with suppress(PermissionError):
            os.sched_setscheduler(server.pid, os.SCHED_RR, os.sched_param(1))
        yield server


@dataclass
class Ran:
    """A client that ran: its CPU time over the time, and what the server saw."""

    code: int
    output: str
    at_ns: list[int] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    machine_s: list[float] = field(default_factory=list)
    busy_s: float = 0.0
    """CPU time of the whole tree from its begin to its end."""

    def used_s(self, start_ns: int, end_ns: int) -> float:
        """Return the CPU time between two instants of the monotonic clock."""
        before, after = np.interp((start_ns, end_ns), self.at_ns, self.cpu_s)
        return float(after - before)

    def machine_used_s(self, start_ns: int, end_ns: int) -> float:
        """Return the CPU time of everything on the machine between two instants."""
        before, after = np.interp((start_ns, end_ns), self.at_ns, self.machine_s)
        return float(after - before)


def run_on(core: int | str, command: Sequence[str], environment: Mapping[str, str], limit_s: float) -> Ran:
    """Run a command and all it starts on one core, or several ("0,1"); watch its CPU time, end it after ``limit_s``."""
    child = subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    ran = Ran(0, "")
    assert child.stdout is not None
    reader = threading.Thread(target=lambda out: setattr(ran, "output", out.read().decode()), args=(child.stdout,))
    reader.start()
    end = time.monotonic() + limit_s
    tree = psutil.Process(child.pid)
    before = os.times()
    while child.poll() is None:
        ran.at_ns.append(time.monotonic_ns())
        ran.cpu_s.append(_tree_s(tree))
        ran.machine_s.append(machine_s())
        if time.monotonic() > end:
            for one in [*tree.children(recursive=True), tree]:
                one.kill()
        time.sleep(EVERY_S)
    reader.join()
    after = os.times()
    ran.busy_s = after.children_user + after.children_system - before.children_user - before.children_system
    ran.code = child.returncode
    return ran


def _tree_s(tree: psutil.Process) -> float:
    """Return the CPU time of a process, its descendants, and those of them that have been waited for."""
    total = 0
    try:
        family = [tree, *tree.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for one in family:
        try:
            words = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            # It ended between the two looks: whoever waited for it has its time.
            continue
        total += sum(int(w) for w in words[11:15])
    return total / TICKS


def machine_s() -> float:
    """Return the CPU time that everything on this machine has used since it was booted, on all cores."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = (int(w) for w in words[:7])
    return (user + nice + system + irq + softirq) / TICKS


def others_busy(ran: Ran, server_s: float, own_s: float, start_ns: int, end_ns: int) -> float:
    """Return how many cores were used by anything but client, server (all its time) and this program (likewise)."""
    span_s = (end_ns - start_ns) / 1e9
    own_s *= span_s / (ran.at_ns[-1] - ran.at_ns[0]) * 1e9
    rest_s = ran.machine_used_s(start_ns, end_ns) - ran.used_s(start_ns, end_ns) - server_s - own_s
    return max(0.0, rest_s / span_s)


def wait_for_quiet(limit_s: float) -> None:
    """Wait until the machine is quiet, for ``limit_s`` seconds at most."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        before = machine_s()
        time.sleep(QUIET_S)
        if machine_s() - before <= QUIET * QUIET_S:
            return


def streaming(truth: Truth) -> tuple[int, int]:
    """Return the instants of the first request and of the last write."""
    return min(p.read_ns for p in truth), max(int(p.written_ns[-1]) for p in truth if len(p.written_ns))
