"""Proof that the GPU memory of an engine that ended was returned, before the next one starts.

A driver can hold memory for a while after the process is gone, and an engine that starts meanwhile sizes its KV cache
by what is left: it would be another deployment than the one that was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import NvmlError
from joulemark.warehouse.errors import EngineError

TOLERANCE_BYTES = 64 << 20
"""The driver's own share moves by some MiB."""
PATIENCE_S = 60.0
POLL_S = 0.2
GIB = 1 << 30


@dataclass
class GpuMemory:
    """What each board had in use when no engine of ours ran, the least that was seen."""

    _levels: dict[str, int] = field(default_factory=dict)

    def wait_returned(self, uuids: tuple[str, ...], report: Callable[[str], None]) -> None:
        """Return once the boards hold no more than before the first start of an engine on them.

        MIG boards are left out: their memory is others' too. Raises EngineError (``device_busy``), naming the
        processes that are there, where a board does not come back to that level.
        """
        boards = tuple(u for u in uuids if u.startswith("GPU-"))
        if not boards:
            return
        deadline = time.monotonic() + PATIENCE_S
        with _library() as there:
            for uuid in boards if there else ():
                while (over := self._over(uuid)) > TOLERANCE_BYTES:
                    if time.monotonic() > deadline:
                        raise EngineError(_words(uuid, over), "device_busy")
                    report(f"waiting until {uuid} has returned {over / GIB:.1f} GiB of memory")
                    time.sleep(POLL_S)

    def _over(self, uuid: str) -> int:
        """Return how many bytes more than its level a board has in use; 0 where that cannot be known."""
        try:
            handle = api.by_uuid(uuid)
            if api.mig_instances(handle) is not None:
                return 0
            used = api.memory_used_bytes(handle)
        except NvmlError:
            # The sampler says of such a board what is wrong with it, and the trial is invalid for that.
            return 0
        level = self._levels[uuid] = min(used, self._levels.get(uuid, used))
        return used - level


def _words(uuid: str, over: int) -> str:
    try:
        pids = api.processes(api.by_uuid(uuid))
    except NvmlError:
        pids = []
    users = ", ".join(f"{pid} ({_program(pid)})" for pid in pids)
    who = f"processes on it: {users}; end them" if users else "no process is on it; if it stays so, reset the GPU"
    return (
        f"{uuid} still holds {over / GIB:.1f} GiB more than before the first engine, {PATIENCE_S:.0f} s after the last "
        f"one ended; {who}"
    )


def _program(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "of another user or container"


@contextmanager
def _library() -> Iterator[bool]:
    try:
        api.open_library()
    except NvmlError:
        yield False
        return
    try:
        yield True
    finally:
        api.close_library()
