"""What this node has for measuring, and what it lacks. Nothing is started, and no running sweep is touched."""

from __future__ import annotations

import os
import platform
import resource
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from joulemark.agents.checkup_meters import measured
from joulemark.agents.clock_kept import ClockKept, clock_kept
from joulemark.agents.environments.installers import find_installer
from joulemark.agents.environments.make import is_made
from joulemark.agents.environments.sets import known_sets, load_set
from joulemark.agents.gpu_users import gpu_users
from joulemark.agents.home import joulemark_home
from joulemark.agents.meters.cpu_watts import CPUINFO, cpu_facts
from joulemark.agents.meters.discover import discover
from joulemark.agents.meters.nvml.meter import NvmlMeter
from joulemark.agents.node_facts import versions
from joulemark.warehouse.errors import JoulemarkError

LITTLE_BYTES, ROOM_BYTES = 1 << 30, 10 << 30
MODEL = "cpu-model"


@dataclass(frozen=True)
class Finding:
    """Something that is missing. ``needed`` says that nothing can be measured without it; ``fix`` is a command."""

    what: str
    fix: str
    needed: bool = False


@dataclass(frozen=True)
class Checkup:
    """One node. ``meters`` describe themselves, with how often their numbers change as just measured.

    ``engines`` says of each pinned environment whether it is there; ``gpu_users`` are processes by GPU.
    """

    node: str
    cpu: str
    logical_cpus: int
    memory_bytes: int
    disk_free_bytes: int
    gpus: Mapping[str, str]
    driver: str | None
    meters: Mapping[str, dict[str, Any]]
    engines: Mapping[str, bool]
    gpu_users: Mapping[str, tuple[str, ...]]
    clock: ClockKept
    versions: Mapping[str, str]
    findings: tuple[Finding, ...]


def check_up(node: str) -> Checkup:
    """Look at this machine, which the cluster calls ``node``: about two seconds."""
    home = joulemark_home()
    meters, warnings = discover()
    try:
        described = measured(meters)
    finally:
        for meter in meters:
            if isinstance(meter, NvmlMeter):
                meter.close()
    nvml = described.get("nvml", {})
    boards: Mapping[str, str] = nvml.get("boards", {})
    free = shutil.disk_usage(_nearest(home)).free
    users = gpu_users()
    clock = clock_kept()
    findings = (
        *(Finding(text, _command_in(text)) for text in warnings),
        *_of_meters(described),
        *_of_place(home, free),
        *_of_priority(),
        *_of_users(users),
        *_of_clock(clock),
    )
    return Checkup(
        node=node,
        cpu=cpu_facts(CPUINFO.read_text()).get("model name", platform.machine()),
        logical_cpus=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        disk_free_bytes=free,
        gpus=boards,
        driver=nvml.get("driver"),
        meters=described,
        engines={name: is_made(load_set(name), home) for name in known_sets()},
        gpu_users=users,
        clock=clock,
        versions=versions(),
        findings=findings,
    )


def _of_meters(meters: Mapping[str, object]) -> Iterator[Finding]:
    if set(meters) == {MODEL}:
        yield Finding(
            "no energy counter can be read: watts of CPUs are modelled from their use, and every row says so",
            "measure where NVML or RAPL can be read, or name a BMC or PDU under `meters:` of the site file",
        )


def _of_place(home: Path, free_bytes: int) -> Iterator[Finding]:
    place = _nearest(home)
    if not os.access(place, os.W_OK):
        yield Finding(f"{home} may not be written", "export JOULEMARK_HOME=/a/folder/of/your/own", needed=True)
    if free_bytes < ROOM_BYTES:
        yield Finding(
            f"{free_bytes / (1 << 30):.1f} GiB are free for engines, models and traces at {place}",
            "export JOULEMARK_HOME=/a/folder/on/a/larger/disk",
            needed=free_bytes < LITTLE_BYTES,
        )
    try:
        find_installer()
    except JoulemarkError as error:
        yield Finding(
            f"engines cannot be installed: {error}",
            "sudo apt-get install python3-venv (or name a prepared `environment:` of each engine in the sweep file)",
            needed=True,
        )


def _of_priority() -> Iterator[Finding]:
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if nice > 0:
        yield Finding(
            f"what is started here runs at nice {nice}, behind others: samplers will be late",
            "RAY_worker_niceness=0 in the environment of `ray start`, and no `nice` before it",
        )
    if os.geteuid() and resource.getrlimit(resource.RLIMIT_RTPRIO)[0] < 1:
        yield Finding(
            "sampler and load client may not run before the engine",
            'echo "$USER - rtprio 1" | sudo tee /etc/security/limits.d/joulemark.conf, and log in again',
        )


def _of_users(users: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    for gpu, processes in users.items():
        yield Finding(
            f"{gpu} is in use by {', '.join(processes)}: no engine starts there",
            f"end them: kill {' '.join(p.partition(' ')[0] for p in processes)}",
        )


def _of_clock(clock: ClockKept) -> Iterator[Finding]:
    if clock.kept is False:
        yield Finding("no time server keeps the clock: dates of records may be wrong", "sudo timedatectl set-ntp true")


def _command_in(text: str) -> str:
    """Return the command that a warning ends with, behind the last ``: `` that introduces one."""
    _, found, command = text.rpartition("permit it with: ")
    return command if found else "nvidia-smi"


def _nearest(path: Path) -> Path:
    """Return the path, or the nearest folder above it that is there."""
    return path if path.exists() else _nearest(path.parent)
