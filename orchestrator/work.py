"""The groups that a run has still to do, shared by the lanes of all nodes."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field

from joulemark.orchestrator.copies import Places
from joulemark.orchestrator.gang import Gang
from joulemark.orchestrator.inventory import Node, suits
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.plan import Group, TrialKey
from joulemark.orchestrator.schedule import Schedule, gpus_held, may_run

WAIT_S = 0.5


@dataclass
class Work:
    """Groups are taken, and given back where a node is lost; the work is over when all that were taken are done.

    One over several nodes is taken as a gang: by the node that leads it, and then by as many others as it takes. The
    gang that gathers first has every node that comes free, so that none waits for a node that waits for it.
    """

    schedule: Schedule
    lanes: Lanes
    _taken: dict[str, list[Group]] = field(default_factory=dict)
    """Groups by the node that has them."""
    _gangs: list[Gang] = field(default_factory=list)
    """Those that gather or run, the oldest first."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, node: Node, stopping: threading.Event) -> Group | Gang | None:
        """Return the next group for a lane of the node; None where none will come any more, or the run is to stop.

        A lane for which there is nothing now waits as long as others work: what they lose may come back.
        """
        with self._changed:
            while not stopping.is_set():
                taken = self._join(node) or self._lead(node)
                if taken is not None:
                    group = taken.group if isinstance(taken, Gang) else taken
                    self._taken.setdefault(node.node, []).append(group)
                    self._changed.notify_all()
                    return taken
                if not self._may_come_back(node) and not self.schedule.has(node):
                    return None
                self._changed.wait(WAIT_S)
        return None

    def done(self, node: Node, group: Group) -> None:
        """Note that the node has done a group, or what it could of one that others lead."""
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
            return self._may_come_back(node) or self.schedule.has(node)

    def _may_come_back(self, node: Node) -> bool:
        others = (group for name, groups in self._taken.items() if name != node.node for group in groups)
        return any(may_run(group, node) for group in others)

    def _free(self, node: Node) -> int | None:
        """Return the GPUs that the node's other lanes leave; None where it has one lane."""
        if self.lanes.on(node) == 1:
            return None
        return node.gpus - sum(gpus_held(group, node) for group in self._taken.get(node.node, ()))

    def _join(self, node: Node) -> Gang | None:
        """Return the gang that the node is one more of; it has a place there from now on."""
        free = self._free(node)
        for gang in self._gangs:
            fits = free is None or free >= gpus_held(gang.group, node)
            if fits and suits(gang.group.deployment, node) and gang.wants(node.node):
                gang.join(node.node)
                return gang
        return None

    def _lead(self, node: Node) -> Group | Gang | None:
        group = self.schedule.take(node, self._free(node))
        if group is None or group.deployment.parallel.nodes == 1:
            return group
        gang = Gang(group, node.node)
        self._gangs.append(gang)
        return gang

    def _leave(self, node: Node, group: Group) -> None:
        self._taken[node.node].remove(group)
        self._gangs = [g for g in self._gangs if g.group is not group or g.head != node.node]
        self._changed.notify_all()
