"""The nodes that carry loads for engines on others: who is there, and how many loads each has."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field

from joulemark.orchestrator.gang import Member
from joulemark.orchestrator.inventory import Node, suits
from joulemark.warehouse.errors import ClusterError
from joulemark.workloads.cell import APART, Cell

POLL_S = 0.5


@dataclass
class Carriers:
    """Safe to use from several threads."""

    _there: dict[str, Member] = field(default_factory=dict)
    _loads: Counter[str] = field(default_factory=Counter)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def offer(self, member: Member) -> None:
        """Take in a node that is ready."""
        with self._changed:
            self._there[member.facts.node] = member
            self._changed.notify_all()

    def withdraw(self, node: str) -> None:
        """Let a node go."""
        with self._changed:
            self._there.pop(node, None)

    @contextmanager
    def one(self, stopping: threading.Event, patience_s: float) -> Iterator[Member | None]:
        """Give the node with the fewest loads for the block, None where the run is to stop.

        Raises ClusterError where none is there for too long.
        """
        member = self._wait(stopping, patience_s)
        try:
            yield member
        finally:
            if member is not None:
                with self._changed:
                    self._loads[member.facts.node] -= 1

    def _wait(self, stopping: threading.Event, patience_s: float) -> Member | None:
        give_up = time.monotonic() + patience_s
        with self._changed:
            while not stopping.is_set():
                there = [node for node, member in self._there.items() if member.agent.lost is None]
                if there:
                    node = min(there, key=lambda n: (self._loads[n], n))
                    self._loads[node] += 1
                    return self._there[node]
                if time.monotonic() > give_up:
                    raise ClusterError(f"no node for the load client was there in {patience_s / 60:.0f} min")
                self._changed.wait(POLL_S)
        return None


def carriers_among(nodes: Sequence[Node], named: Collection[str], cells: Sequence[Cell]) -> frozenset[str]:
    """Return the nodes that carry the load of cells whose client runs apart; none where there is no such cell.

    Those that the site names, or else those on which none of the cells could be measured.
    """
    if not any(c.window.client == APART for c in cells):
        return frozenset()
    there = frozenset(n.node for n in nodes if n.node in named)
    if named:
        return there
    return frozenset(n.node for n in nodes if n.takes_work and not any(suits(c.deployment, n) for c in cells))


def why_no_carrier(cell: Cell, carriers: AbstractSet[str], named: Collection[str]) -> str | None:
    """Return why nothing can carry the load of a cell; None where something can, or nothing has to."""
    if cell.window.client != APART or carriers:
        return None
    if named:
        return f"its load client runs apart, and no client of the site file is here: {', '.join(sorted(named))}"
    return "its load client runs apart, and no node is left over for it: name one in the site file, clients: [NODE]"
