"""What is there on a machine that an engine could leave behind: processes, ports, shared memory, temporary files.

On a machine that others use too the looking is done in name spaces of its own (``inside``), where all that is new is
the engine's.
"""

import ctypes
import os
import socket
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path

import psutil

CLONE_FLAGS = ("--mount", "--ipc", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
PRIVATE = "JOULEMARK_TEST_NAMESPACES"
ROOT = Path(__file__).parents[2]
TEMPORARY = Path("/tmp")  # noqa: S108 -- where such things lie on Linux
MS_BIND = 4096
PERSISTENT = ("torchinductor_",)
"""Caches that are meant to stay."""


@dataclass(frozen=True)
class Inventory:
    """Everything by name."""

    processes: frozenset
    ports: frozenset
    shared_memory: frozenset
    temporary: frozenset

    @classmethod
    def now(cls, ours=()):
        """Take stock; what lies below the folders ``ours`` does not count."""
        return cls(_processes(), _ports(), _shared_memory(), _temporary([str(o) for o in ours]))

    def new_since(self, before):
        """Return what is here and was not there, by kind; empty where nothing is."""
        found = {f.name: sorted(getattr(self, f.name) - getattr(before, f.name)) for f in fields(self)}
        return {kind: names for kind, names in found.items() if names}


def _processes():
    found = set()
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add((process.pid, process.create_time(), " ".join(process.cmdline())[:120]))
        except psutil.Error:
            continue
    return frozenset(found)


def _ports():
    listening = psutil.net_connections("inet")
    return frozenset(c.laddr.port for c in listening if c.status == psutil.CONN_LISTEN)


def _shared_memory():
    names = {str(p.relative_to("/dev/shm")) for p in Path("/dev/shm").rglob("*")}  # noqa: S108 -- where such things lie on Linux
    segments = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return frozenset(names | {f"sysv {line.split()[1]}" for line in segments})


def _temporary(ours):
    places = {str(TEMPORARY), "/var/tmp", tempfile.gettempdir()}  # noqa: S108 -- where such things lie on Linux
    found = set()
    for place in places:
        for name in os.listdir(place):
            path = os.path.join(place, name)
            if not name.startswith(PERSISTENT) and not any(o == path or o.startswith(f"{path}/") for o in ours):
                found.add(path)
    return frozenset(found)


def inside(argv, environment):
    """Run a command in name spaces of its own where that is permitted, else plainly; return the finished process."""
    wrapped = ["unshare", *CLONE_FLAGS, sys.executable, __file__, *argv]
    environment = {**environment, "PYTHONDONTWRITEBYTECODE": "1"}
    permitted = subprocess.run(
        ["unshare", *CLONE_FLAGS, sys.executable, __file__, "true"], capture_output=True, check=False
    )
    command = wrapped if permitted.returncode == 0 else argv
    return subprocess.run(
        command, env={**environment, PRIVATE: str(int(command is wrapped))}, capture_output=True, text=True, check=False
    )


def _enter(needed):
    """Give these name spaces a /dev/shm and a /tmp of their own, and a loopback device.

    Of the old /tmp there is what is ``needed``: what others put there meanwhile is not the engine's.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source, place, kind=None, flags=0):
        code = libc.mount(source.encode(), place.encode(), kind and kind.encode(), flags, None)
        if code:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), place)

    mount("tmpfs", "/dev/shm", "tmpfs")  # noqa: S108 -- where such things lie on Linux
    kept = {folder: os.open(folder, os.O_PATH) for folder in needed}
    mount("tmpfs", str(TEMPORARY), "tmpfs")
    for folder, opened in kept.items():
        os.makedirs(folder)
        mount(f"/proc/self/fd/{opened}", folder, flags=MS_BIND)
        os.close(opened)
    with socket.socket() as plug:
        import fcntl

        up_and_running = 0x41
        fcntl.ioctl(plug, 0x8914, struct.pack("16sh", b"lo", up_and_running))


def _below_temporary(paths):
    """Return the folders in /tmp that are needed for these paths, some of which may have to be made yet."""
    found = set()
    for path in map(Path, paths):
        if TEMPORARY in path.parents:
            there = next(p for p in (path, *path.parents) if p.is_dir())
            found |= {str(there)} - {str(TEMPORARY)}
    return sorted(f for f in found if not any(f.startswith(f"{other}/") for other in found))


if __name__ == "__main__":
    _enter(_below_temporary([*sys.argv[1:], sys.prefix, __file__, os.getcwd(), Path.home(), ROOT]))
    # The current folder is still the old /tmp's, where it lies there.
    os.chdir(os.getcwd())
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 -- a shell would stand between
