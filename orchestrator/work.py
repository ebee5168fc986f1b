"""The groups that a run has still to do, shared by the lanes of all nodes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from joulemark.orchestrator.copies import Places
from joulemark.orchestrator.inventory import Node, reserved
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.plan import Group, TrialKey
from joulemark.orchestrator.schedule import Schedule

WAIT_S = 0.5


@dataclass
class Work:
    """Groups are taken, and given back where a node is lost; the work is over when all that were taken are done."""

    schedule: Schedule
    lanes: Lanes
    _taken: Counter[str] = field(default_factory=Counter)
    """Groups by the node that has them."""
    _held: Counter[str] = field(default_factory=Counter)
    """GPUs that they hold, all of them where the CPUs are what is measured."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, node: Node, stopping: threading.Event) -> Group | None:
        """Return the next group for a lane of the node; None where none will come any more, or the run is to stop.

        A lane for which there is nothing now waits as long as others work: what they lose may come back.
        """
        with self._changed:
            while not stopping.is_set():
                group = self.schedule.take(node, self._free(node))
                if group is not None:
                    self._taken[node.node] += 1
                    self._held[node.node] += _holds(group, node)
                    return group
                if not self._taken.total():
                    return None
                self._changed.wait(WAIT_S)
        return None

    def done(self, node: Node, group: Group) -> None:
        """Note that the node has done a group."""
        with self._changed:
            self._leave(node, group)

    def give_back(self, node: Node, group: Group, settled: Collection[TrialKey]) -> None:
        """Put a group back that the node could not do, without the trials of it that are settled."""
        with self._changed:
            self.schedule.put_back(group, node, settled)
            self._leave(node, group)

    def without(self, valid: Places) -> int:
        """Take out the trials that are valid by now, and return how many those were."""
        with self._changed:
            return self.schedule.drop(valid)

    def waits_for(self, node: Node) -> bool:
        """Return whether the node could do something, now or should another node be lost."""
        with self._changed:
            others = self._taken.total() - self._taken[node.node]
            return others > 0 or self.schedule.has(node)

    def _free(self, node: Node) -> int | None:
        """Return the GPUs that the node's other lanes leave; None where it has one lane."""
        return None if self.lanes.on(node) == 1 else node.gpus - self._held[node.node]

    def _leave(self, node: Node, group: Group) -> None:
        self._taken[node.node] -= 1
        self._held[node.node] -= _holds(group, node)
        self._changed.notify_all()


def _holds(group: Group, node: Node) -> int:
    return node.gpus if group.deployment.on_cpu else reserved(group.deployment, node)
