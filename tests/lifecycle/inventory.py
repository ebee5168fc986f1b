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
    places = {"/tmp", "/var/tmp", tempfile.gettempdir()}  # noqa: S108 -- where such things lie on Linux
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


def _enter():
    """Give these name spaces their own /dev/shm, a /tmp whose changes nobody else sees, and a loopback device."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(kind, place, options):
        code = libc.mount(kind.encode(), place.encode(), kind.encode(), 0, options.encode())
        if code:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), place)

    mount("tmpfs", "/dev/shm", "")  # noqa: S108 -- where such things lie on Linux
    mount("tmpfs", "/mnt", "")
    for name in ("upper", "work"):
        os.mkdir(f"/mnt/{name}")
    mount("overlay", "/tmp", "lowerdir=/tmp,upperdir=/mnt/upper,workdir=/mnt/work")  # noqa: S108 -- where such things lie on Linux
    with socket.socket() as plug:
        import fcntl

        up_and_running = 0x41
        fcntl.ioctl(plug, 0x8914, struct.pack("16sh", b"lo", up_and_running))


if __name__ == "__main__":
    _enter()
    # The current folder is still the old /tmp's, where it lies there.
    os.chdir(os.getcwd())
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 -- a shell would stand between
