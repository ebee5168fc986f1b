"""The keeper: a small process between the agent and an engine, so that an engine tree always ends as a tree.

It adopts orphans of the tree (as subreaper), ends the tree when the agent asks or dies (stdin closes) or when the
engine's main process ends, and says what happened as JSON lines on stdout, shared memory that the tree makes
meanwhile among it: who is killed cannot remove it, nor say what it was. If the keeper itself is killed, the kernel
kills the engine's main process, and the next agent ends the rest by their mark (see ``leftovers``).

Standard library only, and no import of ours: it must start fast and never fail for a reason of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.05
KILL_DEADLINE_S = 20.0
SHARED_MEMORY = "/dev/shm"  # noqa: S108 -- where Linux keeps it
IN_CREATE, IN_NONBLOCK = 0x100, 0o4000
MAPPED_AFTER_S = 0.1
"""A new file of shared memory is mapped by its maker within this time."""
STATE, PARENT, THREADS = 0, 1, 17
"""Places in /proc/PID/stat, counted from behind the name."""
INODE = 4
"""Place in a line of /proc/PID/maps."""


def main() -> None:
    """Read the order from the first line of stdin, run the engine, end its tree, say how it ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    order = json.loads(sys.stdin.buffer.readline())
    if order.get("cpus"):
        os.sched_setaffinity(0, order["cpus"])
    with open(order["log"], "ab") as log:
        try:
            engine = subprocess.Popen(
                order["argv"],
                env=order["environment"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Safe here: this process has one thread.
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509 -- one thread
            )
        except OSError as error:
            _say(what="failed", error=f"{order['argv'][0]}: {error.strerror}")
            return
    _say(what="started", pid=engine.pid)
    asked = _wait(engine, _news_of_shared_memory(libc))
    if asked:
        _end_politely(engine, float(order["grace_s"]))
    shared_memory = _end_tree()
    code = engine.wait()
    _say(
        what="ended",
        code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        asked=asked,
        shared_memory=shared_memory,
    )


def _news_of_shared_memory(libc: ctypes.CDLL) -> int | None:
    """Return a descriptor that can be read when somebody on the machine makes shared memory; None without any."""
    news = int(libc.inotify_init1(IN_NONBLOCK))
    if news < 0 or libc.inotify_add_watch(news, SHARED_MEMORY.encode(), IN_CREATE) < 0:
        return None
    return news


def _wait(engine: subprocess.Popen[bytes], news: int | None) -> bool:
    """Return True when the agent wants the engine to end, False when the engine ended by itself.

    Says meanwhile what shared memory the tree has, whenever there is some more on the machine.
    """
    known: set[str] = set()
    look_at = None
    while engine.poll() is None:
        readable, _, _ = select.select([0] if news is None else [0, news], [], [], POLL_S)
        if 0 in readable:
            os.read(0, 1 << 16)
            return True
        if news in readable:
            os.read(news, 1 << 16)
            look_at = look_at or time.monotonic() + MAPPED_AFTER_S
        if look_at is not None and time.monotonic() >= look_at:
            look_at = None
            found = set().union(*map(mapped, _descendants(os.getpid())))
            if not found <= known:
                known |= found
                _say(what="shared_memory", names=sorted(known))
    return False


def _end_politely(engine: subprocess.Popen[bytes], grace_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(engine.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        if engine.poll() is not None:
            return
        time.sleep(POLL_S)


def _end_tree() -> list[str]:
    """Kill every descendant until none is left; as subreaper this process inherits all that are orphaned.

    Returns the shared memory that they had: who is killed cannot remove it.
    """
    shared_memory: set[str] = set()
    deadline = time.monotonic() + KILL_DEADLINE_S
    while (pids := _descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in pids:
            shared_memory |= mapped(pid)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        time.sleep(POLL_S)
    return sorted(shared_memory)


def mapped(pid: int) -> set[str]:
    """Return the names of the files below /dev/shm that a process maps.

    By their inodes: a semaphore is mapped under another name than the one that it is given then.
    """
    inodes: set[int] = set()
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", errors="replace") as maps:
        inodes = {int(line.split(maxsplit=5)[INODE]) for line in maps if f" {SHARED_MEMORY}/" in line}
    found = set()
    for folder, _, names in os.walk(SHARED_MEMORY) if inodes else ():
        for path in (os.path.join(folder, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if os.lstat(path).st_ino in inodes:
                    found.add(os.path.relpath(path, SHARED_MEMORY))
    return found


def _descendants(root: int) -> list[int]:
    """Return the living descendants of ``root``.

    A zombie is over once it has no thread beside its first: until then ports and shared memory are still held.
    """
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    fields = stat.read().rpartition(b")")[2].split()
                if fields[STATE] != b"Z" or int(fields[THREADS]) > 1:
                    children.setdefault(int(fields[PARENT]), []).append(int(entry))
    found, queue = [], [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _say(**report: object) -> None:
    # The agent may be gone; then nobody listens, and the tree must end all the same.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
