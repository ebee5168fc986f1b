"""The groups that a run has still to do, shared by the workers of all nodes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from joulemark.orchestrator.have import TrialKey
from joulemark.orchestrator.inventory import Node
from joulemark.orchestrator.plan import Group

WAIT_S = 0.5


@dataclass
class Work:
    """Groups are taken, and given back where a node is lost; the work is over when all that were taken are done."""

    groups: list[Group]
    suits: Callable[[Group, Node], bool]
    _taken: list[tuple[str, Group]] = field(default_factory=list)
    """Groups with the nodes that have them."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, node: Node, stopping: threading.Event) -> Group | None:
        """Return the next group that suits the node; None where none will come any more, or the run is to stop.

        A node for which there is nothing now waits as long as others work: what they lose may come back.
        """
        with self._changed:
            while not stopping.is_set():
                group = next((g for g in self.groups if self.suits(g, node)), None)
                if group is not None:
                    self.groups.remove(group)
                    self._taken.append((node.node, group))
                    return group
                if not self._may_come_back(node):
                    return None
                self._changed.wait(WAIT_S)
        return None

    def done(self, node: Node, group: Group) -> None:
        """Note that the node has done a group."""
        with self._changed:
            self._taken.remove((node.node, group))
            self._changed.notify_all()

    def give_back(self, node: Node, group: Group, settled: Collection[TrialKey]) -> None:
        """Put a group back that the node could not do, without the trials of it that are settled."""
        with self._changed:
            left = tuple(t for t in group.trials if t.key not in settled)
            if left:
                self.groups.insert(0, replace(group, trials=left))
            self._taken.remove((node.node, group))
            self._changed.notify_all()

    def without(self, valid: Collection[TrialKey]) -> int:
        """Take out the trials that are valid by now, and return how many those were."""
        with self._changed:
            before = _trials(self.groups)
            left = [replace(g, trials=tuple(t for t in g.trials if t.key not in valid)) for g in self.groups]
            self.groups = [g for g in left if g.trials]
            return before - _trials(self.groups)

    def waits_for(self, node: Node) -> bool:
        """Return whether the node could do something, now or should another node be lost."""
        with self._changed:
            return self._may_come_back(node) or any(self.suits(g, node) for g in self.groups)

    def _may_come_back(self, node: Node) -> bool:
        return any(name != node.node and self.suits(group, node) for name, group in self._taken)


def _trials(groups: Sequence[Group]) -> int:
    return sum(len(g.trials) for g in groups)
