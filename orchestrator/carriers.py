"""The nodes that carry loads for engines on others: who is there, and how many loads each has."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field

from joulemark.orchestrator.gang import Member
from joulemark.orchestrator.inventory import Node, suits
from joulemark.warehouse.errors import ClusterError, JoulemarkError
from joulemark.workloads.cell import APART, Cell

POLL_S = 0.5


@dataclass
class Carriers:
    """Safe to use from several threads. ``coming`` says whether more may come; None: nobody has been asked yet."""

    coming: Callable[[], bool | None]
    _refused: dict[str, JoulemarkError] = field(default_factory=dict)
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

    def refuse(self, node: str, error: JoulemarkError) -> None:
        """Let a node go that cannot carry any more."""
        with self._changed:
            self._refused[node] = error
            self._there.pop(node, None)

    def refused(self, node: str) -> JoulemarkError | None:
        """Return why a node cannot carry any more; None where it can."""
        with self._changed:
            return self._refused.get(node)

    def wait_for_any(self, over: Callable[[], bool], patience_s: float) -> None:
        """Wait until some node is there, however long others have it before.

        Raises ClusterError where none will come any more, or none was there to be asked for too long.
        """
        give_up = time.monotonic() + patience_s
        with self._changed:
            while not self._living() and not over():
                self._check(give_up if self.coming() is None else None, patience_s)
                self._changed.wait(POLL_S)

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
                there = self._living()
                if there:
                    node = min(there, key=lambda n: (self._loads[n], n))
                    self._loads[node] += 1
                    return self._there[node]
                self._check(give_up, patience_s)
                self._changed.wait(POLL_S)
        return None

    def _living(self) -> list[str]:
        return [node for node, member in self._there.items() if member.agent.lost is None]

    def _check(self, give_up: float | None, patience_s: float) -> None:
        if self.coming() is False:
            raise ClusterError("no node for the load client is left")
        if give_up is not None and time.monotonic() > give_up:
            raise ClusterError(f"no node for the load client was there in {patience_s / 60:.0f} min")


def carriers_among(nodes: Sequence[Node], named: Collection[str], cells: Sequence[Cell]) -> frozenset[str]:
    """Return the nodes that carry the load of cells whose client runs apart; none where there is no such cell.

    Those that the site names, or else those on which none of the cells could be measured.
    """
    if not any(c.window.client == APART for c in cells):
        return frozenset()
    if named:
        # Those that are away may come back, and must not measure then.
        return frozenset(named) if any(n.node in named for n in nodes) else frozenset()
    return frozenset(n.node for n in nodes if n.takes_work and not any(suits(c.deployment, n) for c in cells))


def why_no_carrier(cell: Cell, carriers: AbstractSet[str], named: Collection[str]) -> str | None:
    """Return why nothing can carry the load of a cell; None where something can, or nothing has to."""
    if cell.window.client != APART or carriers:
        return None
    if named:
        return f"its load client runs apart, and no client of the site file is here: {', '.join(sorted(named))}"
    return "its load client runs apart, and no node is left over for it: name one in the site file, clients: [NODE]"
