"""What an engine makes outside of its own folder: temporary files and shared memory. Both end with the engine.

Each start has a folder of its own for temporary files. Shared memory has one name space per machine, so what the
engine's processes map is written down while they live, and what is left of it afterwards is removed.
"""

from __future__ import annotations

import getpass
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from joulemark.agents.engines import keeper

SHARED_MEMORY = Path(keeper.SHARED_MEMORY)
PREFIX = "jm-"
LONGEST_SOCKET_FOLDER = 60
"""Engines put sockets there, and the whole name of a socket may have 107 bytes."""


def make_scratch(start_id: str) -> Path:
    """Return a new folder for the temporary files of an engine start."""
    place = tempfile.gettempdir()
    if len(os.fsencode(place)) > LONGEST_SOCKET_FOLDER - len(start_id):
        place = "/tmp"  # noqa: S108 -- mkdtemp makes a folder that only we may enter
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{start_id}-", dir=place))


def scratch_variables(scratch: Path) -> dict[str, str]:
    """Return the variables that send temporary files there; what torch compiled stays where it always is."""
    kept = Path(tempfile.gettempdir()) / f"torchinductor_{getpass.getuser()}"
    compiled = os.environ.get("TORCHINDUCTOR_CACHE_DIR", str(kept))
    return {"TMPDIR": str(scratch), "TORCHINDUCTOR_CACHE_DIR": compiled}


def remove_scratch(scratch: Path | None) -> None:
    """Remove the folder; what somebody else put in there and may not be removed stays."""
    if scratch is not None and scratch.name.startswith(PREFIX):
        shutil.rmtree(scratch, ignore_errors=True)


def shared_memory_of(pids: Iterable[int]) -> set[str]:
    """Return the names below /dev/shm that these processes map or hold open."""
    found: set[str] = set()
    for pid in pids:
        found |= keeper.mapped(pid) | _opened(pid)
    return found


def remove_shared_memory(names: Iterable[str]) -> list[str]:
    """Remove those that are still there and that no living process uses; return their names."""
    left = {name for name in names if (SHARED_MEMORY / name).exists()}
    if not left:
        return []
    left -= shared_memory_of(int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    for name in left:
        (SHARED_MEMORY / name).unlink(missing_ok=True)
    return sorted(left)


def _opened(pid: int) -> set[str]:
    found = set()
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            try:
                name = _name(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
            except OSError:
                continue
            if name:
                found.add(name)
    except OSError:
        return found
    return found


def _name(path: str) -> str | None:
    """Return the name of a file in /dev/shm; None for what lies elsewhere or has no name any more."""
    prefix = f"{SHARED_MEMORY}/"
    if not path.startswith(prefix) or path.endswith(" (deleted)"):
        return None
    return path.removeprefix(prefix)
