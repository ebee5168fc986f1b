"""Nodes that run one deployment together: they gather before it starts, and are let go when it is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from joulemark.agents.clock_offset import Offset
from joulemark.agents.orders import (
    Loaded,
    LoadOrder,
    NodeFacts,
    PartOrder,
    PartResult,
    RankEnd,
    StartOrder,
    StartResult,
    Target,
    TrialOrder,
    TrialResult,
)
from joulemark.orchestrator.node_runner import AgentLike
from joulemark.orchestrator.plan import Group, label
from joulemark.warehouse.errors import NodeLost

POLL_S = 0.5
TOO_FEW_S = 30.0
"""For so long there may be fewer nodes than a deployment takes, before its turn is given up."""


class PartAgent(AgentLike, Protocol):
    """The calls of an agent whose node has a part of a deployment or of a trial, beside those that a runner makes."""

    @property
    def lost(self) -> NodeLost | None: ...
    def begin_trial(self, order: TrialOrder) -> Target: ...
    def carry(self, order: LoadOrder) -> Loaded: ...
    def end_load(self, trial: str) -> None: ...
    def end_trial(self, lane: int, loaded: Loaded) -> TrialResult: ...
    def drop_trial(self, lane: int) -> None: ...
    def prepare_engine(self, order: StartOrder) -> StartResult: ...
    def free_ports(self) -> int: ...
    def part_of_trial(self, order: PartOrder) -> PartResult: ...
    def rank_ended(self, lane: int) -> RankEnd | None: ...
    def abandon(self, lane: int) -> None: ...


@dataclass(frozen=True)
class Member:
    """A node of a gang: its lane and GPUs for it, its clock against the driver's, and the way home of its traces."""

    facts: NodeFacts
    address: str
    agent: PartAgent
    lane: int
    devices: tuple[str, ...]
    clock: Callable[[], Offset | None]
    bring: Callable[[], None]
    """Bring home what the node has sealed. Raises DiskFull, WarehouseError, NodeLost."""
    committed: Callable[[], None]
    """Forget on the node what came home."""


@dataclass
class Gang:
    """The nodes for ``group``, of which ``head`` leads. Safe to use from several threads."""

    group: Group
    head: str
    _others: dict[str, Member | None] = field(default_factory=dict)
    """By node; None for one that joined and is not ready yet."""
    _started: bool = False
    _over: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def wants(self, node: str) -> bool:
        """Return whether the node would be one more of them."""
        with self._changed:
            missing = self.group.deployment.parallel.nodes - 1 - len(self._others)
            return missing > 0 and not self._started and node != self.head and node not in self._others

    def join(self, node: str) -> None:
        """Keep a place for the node."""
        with self._changed:
            self._others[node] = None

    def ready(self, member: Member) -> None:
        """Take in a node that has a place."""
        with self._changed:
            self._others[member.facts.node] = member
            self._changed.notify_all()

    def leave(self, node: str) -> None:
        """Give the place of a node to another one, if it is not too late for that."""
        with self._changed:
            if not self._started:
                self._others.pop(node, None)

    def gathered(self, stopping: threading.Event, there: Callable[[], int]) -> tuple[Member, ...] | None:
        """Wait until all are ready and return the others; None where the run is to stop.

        ``there`` is how many nodes could have a part at all. Raises NodeLost where those are too few.
        """
        number = self.group.deployment.parallel.nodes
        enough = time.monotonic()
        while not stopping.is_set():
            with self._changed:
                members = [m for m in self._others.values() if m is not None]
                if len(members) == number - 1:
                    self._started = True
                    return tuple(members)
                self._changed.wait(POLL_S)
            found = there()
            if found >= number:
                enough = time.monotonic()
            elif time.monotonic() - enough > TOO_FEW_S:
                raise NodeLost(f"{label(self.group.trials[0].cell)} takes {number} nodes, of which {found} are there")
        return None

    def end(self) -> None:
        """Let all go."""
        self._over.set()

    def wait_over(self, lost: Callable[[], NodeLost | None]) -> None:
        """Wait until all are let go. Raises what ``lost`` says of the node that waits."""
        while not self._over.wait(POLL_S):
            error = lost()
            if error is not None:
                raise error
