"""Proof that the GPUs are free before an engine starts: memory of the one before was returned, and nobody is there.

A driver can hold memory for a while after the process is gone, and an engine that starts meanwhile sizes its KV cache
by what is left: it would be another deployment than the one that was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from joulemark.agents.gpu_users import program
from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import NvmlError
from joulemark.warehouse.errors import EngineError

TOLERANCE_BYTES = 64 << 20
"""The driver's own share moves by some MiB."""
PATIENCE_S = 60.0
POLL_S = 0.2
GIB = 1 << 30


@dataclass(frozen=True)
class _Use:
    """Bytes in use beyond a board's level, and the processes on it; nothing where that cannot be known."""

    over_bytes: int = 0
    pids: tuple[int, ...] = ()

    @property
    def is_busy(self) -> bool:
        """Whether no engine should start on it."""
        return self.over_bytes > TOLERANCE_BYTES or bool(self.pids)


@dataclass
class GpuMemory:
    """What each board had in use when no engine of ours ran, the least that was seen."""

    _levels: dict[str, int] = field(default_factory=dict)

    def wait_returned(self, uuids: tuple[str, ...], report: Callable[[str], None]) -> None:
        """Return once no process is on the boards, and they hold no more than before the first engine on them.

        MIG boards are left out: they are others' too. Raises EngineError (``device_busy``), naming the processes that
        are there, where a board does not come back to that level.
        """
        boards = tuple(u for u in uuids if u.startswith("GPU-"))
        if not boards:
            return
        deadline = time.monotonic() + PATIENCE_S
        with _library() as there:
            for uuid in boards if there else ():
                while (use := self._use(uuid)).is_busy:
                    if time.monotonic() > deadline:
                        raise EngineError(_words(uuid, use), "device_busy")
                    report(_waiting(uuid, use))
                    time.sleep(POLL_S)

    def _use(self, uuid: str) -> _Use:
        try:
            handle = api.by_uuid(uuid)
            if api.mig_instances(handle) is not None:
                return _Use()
            used = api.memory_used_bytes(handle)
            pids = tuple(api.processes(handle))
        except NvmlError:
            # The sampler says of such a board what is wrong with it, and the trial is invalid for that.
            return _Use()
        level = self._levels[uuid] = min(used, self._levels.get(uuid, used))
        return _Use(used - level, pids)


def _waiting(uuid: str, use: _Use) -> str:
    if use.over_bytes > TOLERANCE_BYTES:
        return f"waiting until {uuid} has returned {use.over_bytes / GIB:.1f} GiB of memory"
    return f"waiting until nobody else uses {uuid} ({_users(use)})"


def _users(use: _Use) -> str:
    return ", ".join(f"{pid} ({program(pid)})" for pid in use.pids)


def _words(uuid: str, use: _Use) -> str:
    over, users = use.over_bytes, _users(use)
    who = f"processes on it: {users}; end them" if users else "no process is on it; if it stays so, reset the GPU"
    if over <= TOLERANCE_BYTES:
        return f"{uuid} is used by others, and was so for {PATIENCE_S:.0f} s; {who}, or measure on other GPUs"
    return (
        f"{uuid} still holds {over / GIB:.1f} GiB more than before the first engine, {PATIENCE_S:.0f} s after the last "
        f"one ended; {who}"
    )


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
