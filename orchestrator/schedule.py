"""Which group a free node takes next. Pure; whoever calls it from several threads holds a lock.

All first starts come before all second ones, so that the repeats of a cell lie apart in time; within a start the
longest groups come first, so that the nodes end together; and a node takes what it has not run yet, so that the starts
of a deployment lie on different nodes where there are several.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from joulemark.orchestrator.copies import Places
from joulemark.orchestrator.inventory import Node, reserved, suits
from joulemark.orchestrator.plan import Group, TrialKey

LOOK_AHEAD = 16
"""How many groups a node looks at for one of a deployment that it has not run yet."""


@dataclass(frozen=True, order=True)
class _Entry:
    start: int
    minus_devices: int
    minus_cost_s: float
    number: int
    group: Group = field(compare=False)
    deployment: str = field(compare=False)


Class = tuple[str, int, str]
"""Accelerator, devices on a node and engine: groups of one class suit the same nodes."""


@dataclass
class Schedule:
    """The groups that no node has taken yet. ``cost_s`` says how long a group is expected to take."""

    cost_s: Callable[[Group], float]
    widest_first: bool = False
    """Whether what needs more GPUs comes first, so that nothing waits for GPUs that others hold one by one."""
    _open: dict[Class, list[_Entry]] = field(default_factory=dict)
    _bound: dict[str, list[_Entry]] = field(default_factory=dict)
    _ran: dict[str, set[str]] = field(default_factory=dict)
    """Deployments by node."""
    _apart: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    """By deployment and start: nodes that took a copy of it."""
    _begun: dict[tuple[str, int, str], AbstractSet[TrialKey]] = field(default_factory=dict)
    """By deployment, start and node: what is settled of a copy that the node was lost with."""
    _added: int = 0

    @classmethod
    def of(cls, groups: Iterable[Group], cost_s: Callable[[Group], float], *, widest_first: bool = False) -> Schedule:
        """Return a schedule of these groups."""
        made = cls(cost_s, widest_first)
        for group in groups:
            made.add(group)
        return made

    def add(self, group: Group) -> None:
        """Add a group, or put one back."""
        d = group.deployment
        devices = 0 if d.on_cpu else d.parallel.devices_per_node
        self._added += 1
        wide = -devices if self.widest_first else 0
        entry = _Entry(group.start, wide, -self.cost_s(group), self._added, group, d.deployment_id)
        if group.nodes is not None and len(group.nodes) == 1:
            insort(self._bound.setdefault(next(iter(group.nodes)), []), entry)
        else:
            insort(self._open.setdefault((d.accelerator, devices, d.engine.name), []), entry)

    def take(self, node: Node, free: int | None = None) -> Group | None:
        """Return the group that the node runs next, which is not in the schedule any more; None where there is none.

        ``free`` are the GPUs that other groups on the node leave it. A group that waits for more is not overtaken, or
        it would wait for ever.
        """
        found = self._next(node)
        if found is None:
            return None
        queue, at = found
        group, deployment = queue[at].group, queue[at].deployment
        if free is not None and free < gpus_held(group, node):
            return None
        del queue[at]
        self._ran.setdefault(node.node, set()).add(deployment)
        if group.nodes is None:
            return group
        self._apart.setdefault((deployment, group.start), set()).add(node.node)
        return group.without(self._begun.get((deployment, group.start, node.node), ()))

    def has(self, node: Node) -> bool:
        """Return whether there is a group that the node could run, were it free."""
        return self._next(node) is not None

    def groups(self) -> Iterator[Group]:
        """Yield the groups that are left."""
        for queue in (*self._open.values(), *self._bound.values()):
            yield from (entry.group for entry in queue)

    def put_back(self, group: Group, node: Node, settled: Collection[TrialKey]) -> None:
        """Put a group back that the node took and could not finish, without the trials that are settled.

        A copy for which another node will do stays whole: there all repeats of a cell are measured anew, and here the
        rest of them.
        """
        left = group.without(settled)
        if group.nodes is not None:
            copy = group.deployment.deployment_id, group.start
            self._apart.get(copy, set()).discard(node.node)
            if len(group.nodes) > 1:
                self._begun[*copy, node.node] = {t.key for t in group.trials if t.key in settled}
                left = group if left is not None else None
        if left is not None:
            self.add(left)

    def drop(self, valid: Places) -> int:
        """Take out the trials that are valid by now; return how many those were."""
        before = list(self.groups())
        left = [g for group in before if (g := group.without(_there(group, valid))) is not None]
        self._open.clear()
        self._bound.clear()
        for group in left:
            self.add(group)
        return sum(len(g.trials) for g in before) - sum(len(g.trials) for g in left)

    def _next(self, node: Node) -> tuple[list[_Entry], int] | None:
        """Return where the node's next group is: what needs its GPUs before what needs none."""
        best: tuple[list[_Entry], int] | None = None
        for queue in self._queues(node):
            at = self._first(queue, node)
            if at is not None and (best is None or _before(queue[at], best[0][best[1]])):
                best = queue, at
        return best

    def _queues(self, node: Node) -> Iterator[list[_Entry]]:
        if node.node in self._bound:
            yield self._bound[node.node]
        yield from (q for q in self._open.values() if q and suits(q[0].group.deployment, node))

    def _first(self, queue: list[_Entry], node: Node) -> int | None:
        """Return the first entry that the node may run, one of a deployment new to it where that is near."""
        ran: AbstractSet[str] = self._ran.get(node.node, frozenset())
        first = None
        for at, entry in enumerate(queue):
            if first is not None and (at - first > LOOK_AHEAD or entry.start != queue[first].start):
                break
            if not self._may(entry, node):
                continue
            if entry.deployment not in ran:
                return at
            first = at if first is None else first
        return first

    def _may(self, entry: _Entry, node: Node) -> bool:
        nodes = entry.group.nodes
        if nodes is None:
            return True
        return node.node in nodes and node.node not in self._apart.get((entry.deployment, entry.start), ())


def may_run(group: Group, node: Node) -> bool:
    """Return whether a node could run a group, were it free."""
    return suits(group.deployment, node) and (group.nodes is None or node.node in group.nodes)


def _there(group: Group, valid: Places) -> frozenset[TrialKey]:
    """Return the trials of a group that need not be run: of a copy, those that are valid on its very node."""
    if group.nodes is None:
        return frozenset(t.key for t in group.trials if t.key in valid)
    return frozenset(t.key for t in group.trials if len(group.nodes) == 1 and group.nodes <= valid.get(t.key, set()))


def gpus_held(group: Group, node: Node) -> int:
    """Return the GPUs that nobody else may use meanwhile: all of them where the CPUs are what is measured."""
    return node.gpus if group.deployment.on_cpu else reserved(group.deployment, node)


def _before(one: _Entry, other: _Entry) -> bool:
    cpu = one.group.deployment.on_cpu, other.group.deployment.on_cpu
    return one < other if cpu[0] == cpu[1] else cpu[1]
