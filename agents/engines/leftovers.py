"""Ends what a crash left running: every process that carries the mark of an engine start of a dead agent.

Each start writes a record (id, keeper's pid and start time) before anything runs, and the id is in the environment of
all its processes, so that nothing is ever looked for by name.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from joulemark.agents.engines.scratch import remove_scratch, remove_shared_memory

MARK = "JOULEMARK_START"
DEADLINE_S = 10.0
KEEPER_GRACE_S = 30.0
"""How long the keeper of a dead agent may take to end its tree before that is done here."""


@dataclass
class StartRecord:
    """What is to be ended and removed of one engine start should its agent die; a file until ``remove``."""

    path: Path
    start_id: str
    keeper: int
    since: float
    scratch: Path | None
    shared_memory: set[str]
    main: tuple[int, float] | None = None
    """The engine's main process: pid and start time."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def new(cls, folder: Path, start_id: str, keeper_pid: int, scratch: Path) -> StartRecord:
        """Note that ``keeper_pid`` now keeps the engine start ``start_id``."""
        folder.mkdir(parents=True, exist_ok=True)
        record = cls(folder / f"{start_id}.json", start_id, keeper_pid, _since(keeper_pid) or 0.0, scratch, set())
        record._write()
        return record

    @classmethod
    def read(cls, path: Path) -> StartRecord:
        """Return a record that another agent left."""
        found = json.loads(path.read_text())
        return cls(
            path,
            found["start"],
            found["keeper"],
            found["since"],
            # Records of older versions have neither.
            Path(found["scratch"]) if "scratch" in found else None,
            set(found.get("shared_memory", ())),
            (found["main"][0], found["main"][1]) if found.get("main") else None,
        )

    def note_main(self, pid: int) -> None:
        """Add the engine's main process."""
        with self._lock:
            self.main = (pid, _since(pid) or 0.0)
            self._write()

    def note(self, shared_memory: set[str]) -> None:
        """Add names below /dev/shm."""
        with self._lock:
            if not shared_memory <= self.shared_memory:
                self.shared_memory |= shared_memory
                self._write()

    def end(self) -> list[int]:
        """End what runs of it, remove what is left of it and forget it; return the pids of what ran."""
        ended = end_marked(self.start_id)
        # One that is just dying has lost its mark, and not yet its ports and shared memory.
        dying = {**ended, **({self.main[0]: self.main[1]} if self.main is not None else {})}
        deadline = time.monotonic() + DEADLINE_S
        while any(_since(pid) == since for pid, since in dying.items()) and time.monotonic() < deadline:
            time.sleep(0.01)
        remove_shared_memory(self.shared_memory)
        remove_scratch(self.scratch)
        self.path.unlink(missing_ok=True)
        return sorted(ended)

    def _write(self) -> None:
        text = {
            "start": self.start_id,
            "keeper": self.keeper,
            "since": self.since,
            **({"scratch": str(self.scratch)} if self.scratch else {}),
            "shared_memory": sorted(self.shared_memory),
            "main": self.main,
        }
        draft = self.path.with_name(f".{self.start_id}")
        draft.write_text(json.dumps(text))
        os.replace(draft, self.path)


def end_leftovers(folder: Path) -> list[int]:
    """End the processes of all recorded starts and return their pids; remove what else is left of them.

    The caller holds the node's lock.

    A start that is still recorded belongs to an agent that is gone. Its keeper, if it lives, is ending the tree.
    """
    ended = []
    deadline = time.monotonic() + KEEPER_GRACE_S
    for path in folder.glob("*.json"):
        record = StartRecord.read(path)
        while _since(record.keeper) == record.since and time.monotonic() < deadline:
            time.sleep(0.1)
        ended += record.end()
    return ended


def marked(start_id: str) -> list[psutil.Process]:
    """Return the living processes that carry the mark of an engine start."""
    wanted = f"{MARK}={start_id}".encode()
    found = []
    for process in psutil.process_iter():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in environment:
            found.append(process)
    return found


def end_marked(start_id: str) -> dict[int, float]:
    """Kill the processes that carry the mark of an engine start; return their pids and when they began."""
    pids: dict[int, float] = {}
    deadline = time.monotonic() + DEADLINE_S
    while (processes := marked(start_id)) and time.monotonic() < deadline:
        for process in processes:
            try:
                pids[process.pid] = process.create_time()
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=1)
    return pids


def _since(pid: int) -> float | None:
    """Return when a process began; None where it is no more.

    A zombie has let go of all but its number, once the last of its threads has ended.
    """
    try:
        process = psutil.Process(pid)
        begun = process.create_time()
        over = process.status() == psutil.STATUS_ZOMBIE and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except (psutil.NoSuchProcess, OSError):
        return None
    return None if over else begun
