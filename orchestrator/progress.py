"""What a running sweep tells: counts, what each node does, time left. Read by the terminal and by ``status``."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass, field

import msgspec

from joulemark.orchestrator.forecast import Outlook
from joulemark.orchestrator.plan import Group, Wanted
from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.store.layout import SWEEPS
from joulemark.warehouse.store.location import Warehouse


class NodeLine(msgspec.Struct, frozen=True):
    """One node right now."""

    node: str
    doing: str
    trial: str | None = None
    tokens_per_s: float | None = None
    watts: float | None = None
    lost: bool = False
    """Whether the node or its agent is gone, and waited for."""


class Snapshot(msgspec.Struct, frozen=True):
    """A sweep right now. ``state`` is ``running``, ``stopping`` or ``ended``."""

    sweep: str
    state: str
    host: str
    pid: int
    updated_s: float
    wanted: int
    had: int
    valid: int
    invalid: int
    failed: int
    left_s: float | None
    nodes: list[NodeLine]


@dataclass
class Progress:
    """Counts of one run, safe to use from several threads. ``had`` were valid before it began."""

    sweep: str
    wanted: int
    had: int
    valid: int = 0
    invalid: int = 0
    failed: int = 0
    state: str = "running"
    outlook: Outlook | None = None
    lines: dict[str, NodeLine] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self, line: NodeLine) -> None:
        """Say what a node does."""
        with self._lock:
            self.lines[line.node] = line

    def attempted(self, outcome: str) -> None:
        """Count one attempt: ``valid``, ``invalid`` or ``failed``."""
        with self._lock:
            setattr(self, outcome, getattr(self, outcome) + 1)

    def found(self, trials: int) -> None:
        """Count trials that another run has made valid meanwhile."""
        with self._lock:
            self.had += trials

    def begins(self, lane: str, group: Group) -> None:
        """Note that a lane begins with a group."""
        if self.outlook is not None:
            self.outlook.begins(lane, group)

    def ends(self, lane: str, left: Group | None) -> None:
        """Note that a lane is done with its group, but for what is ``left`` for another one."""
        if self.outlook is not None:
            self.outlook.ends(lane, left)

    def settled(self, lane: str, trial: Wanted, seconds: float | None) -> None:
        """Note that a trial will not be tried again, and how long all its attempts took; None where none was made."""
        if self.outlook is not None:
            self.outlook.took(lane, trial, seconds)

    def snapshot(self) -> Snapshot:
        """Return the present state."""
        with self._lock:
            return Snapshot(
                sweep=self.sweep,
                state=self.state,
                host=socket.gethostname(),
                pid=os.getpid(),
                updated_s=time.time(),
                wanted=self.wanted,
                had=self.had,
                valid=self.valid,
                invalid=self.invalid,
                failed=self.failed,
                left_s=self.outlook.left_s() if self.outlook is not None and self.state == "running" else None,
                nodes=sorted(self.lines.values(), key=lambda n: n.node),
            )


def step(doing: str) -> str:
    """Return what a node does without the numbers that change all the time."""
    return doing.split(",", maxsplit=1)[0].split("(", maxsplit=1)[0].strip()


def save(warehouse: Warehouse, snapshot: Snapshot) -> None:
    """Put the snapshot where ``status`` finds it."""
    warehouse.write(f"{SWEEPS}/{snapshot.sweep}/progress.json", msgspec.json.encode(snapshot))


def load(warehouse: Warehouse, sweep: str) -> Snapshot | None:
    """Return the last snapshot of a sweep; None where it never ran. Raises WarehouseError where it is unreadable."""
    name = f"{SWEEPS}/{sweep}/progress.json"
    if not warehouse.exists(name):
        return None
    try:
        return msgspec.json.decode(warehouse.read(name), type=Snapshot)
    except msgspec.MsgspecError as error:
        raise WarehouseError(f"{name}: not a progress record: {error}") from error
