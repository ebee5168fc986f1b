"""Ends what a crash left running: every process that carries the mark of an engine start of a dead agent.

Each start writes a record (id, keeper's pid and start time) before anything runs, and the id is in the environment of
all its processes, so that nothing is ever looked for by name.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil

MARK = "JOULEMARK_START"
DEADLINE_S = 10.0
KEEPER_GRACE_S = 30.0
"""How long the keeper of a dead agent may take to end its tree before that is done here."""


def record_start(folder: Path, start_id: str, keeper_pid: int) -> Path:
    """Note that ``keeper_pid`` now keeps the engine start ``start_id``; return the record's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{start_id}.json"
    draft = folder / f".{start_id}"
    draft.write_text(json.dumps({"start": start_id, "keeper": keeper_pid, "since": _since(keeper_pid) or 0.0}))
    os.replace(draft, path)
    return path


def end_leftovers(folder: Path) -> list[int]:
    """End the processes of all recorded starts and return their pids. The caller holds the node's lock.

    A start that is still recorded belongs to an agent that is gone. Its keeper, if it lives, is ending the tree.
    """
    ended = []
    deadline = time.monotonic() + KEEPER_GRACE_S
    for path in folder.glob("*.json"):
        record = json.loads(path.read_text())
        while _since(record["keeper"]) == record["since"] and time.monotonic() < deadline:
            time.sleep(0.1)
        ended += _end_marked(record["start"])
        path.unlink()
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


def _end_marked(start_id: str) -> list[int]:
    pids = set()
    deadline = time.monotonic() + DEADLINE_S
    while (processes := marked(start_id)) and time.monotonic() < deadline:
        for process in processes:
            pids.add(process.pid)
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=1)
    return sorted(pids)


def _since(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
