"""When a sweep will be over: before it runs by playing it through, while it runs from what is left and how it goes."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from joulemark.orchestrator.inventory import Node, suits
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.plan import Group, Wanted
from joulemark.orchestrator.schedule import Schedule, gpus_held

PRIOR_TRIALS = 1.0
"""What was expected counts as much as this many trials that took as long."""
FORGETS = 0.98
"""Weight of what a trial taught after the next one."""


def makespan_s(
    groups: Sequence[Group],
    nodes: Sequence[Node],
    cost_s: Callable[[Group], float],
    lanes: Callable[[Node], int],
    *,
    widest_first: bool = False,
) -> float:
    """Return how long the groups take on these nodes, taken as they will be."""
    schedule = Schedule.of(groups, cost_s, widest_first=widest_first)
    running: list[tuple[float, int, Node, Group]] = []
    held = dict.fromkeys((n.node for n in nodes), 0)
    busy = dict.fromkeys((n.node for n in nodes), 0)
    numbers = itertools.count()
    parts: list[Group] = []
    """Of groups over several nodes, what other nodes will do."""

    def take(node: Node, free: int | None) -> Group | None:
        part = next((p for p in parts if suits(p.deployment, node)), None)
        if part is not None:
            parts.remove(part)
            return part
        group = schedule.take(node, free)
        parts.extend([group] * (group.deployment.parallel.nodes - 1) if group is not None else [])
        return group

    def fill(node: Node, now_s: float) -> None:
        while busy[node.node] < lanes(node):
            free = node.gpus - held[node.node] if lanes(node) > 1 else None
            group = take(node, free)
            if group is None:
                return
            busy[node.node] += 1
            held[node.node] += gpus_held(group, node)
            heapq.heappush(running, (now_s + cost_s(group), next(numbers), node, group))

    for node in nodes:
        fill(node, 0.0)
    end_s = 0.0
    while running:
        end_s, _, node, group = heapq.heappop(running)
        busy[node.node] -= 1
        held[node.node] -= gpus_held(group, node)
        fill(node, end_s)
    return end_s


def best_order(
    groups: Sequence[Group], nodes: Sequence[Node], cost_s: Callable[[Group], float], lanes: Lanes
) -> tuple[float, bool]:
    """Return how long the groups take in the better order, and whether that is the widest first."""
    orders = (False, True) if lanes.smallest else (False,)
    return min((makespan_s(groups, nodes, cost_s, lanes.on, widest_first=wide), wide) for wide in orders)


@dataclass
class Outlook:
    """The time left of a running sweep, corrected by every trial that ends. Safe to use from several threads.

    ``trial_s`` and ``start_s`` are what was expected of trials and engine starts; ``lanes`` is how many groups of each
    accelerator run at the same time.
    """

    trial_s: Callable[[Wanted], float]
    start_s: Callable[[Group], float]
    lanes: Mapping[str, int]
    _pending_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _running: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Accelerator and expected seconds that are left, by lane."""
    _took_s: float = 0.0
    _expected_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(
        cls,
        groups: Sequence[Group],
        trial_s: Callable[[Wanted], float],
        start_s: Callable[[Group], float],
        lanes: Mapping[str, int],
    ) -> Outlook:
        """Return the outlook on groups that nobody has begun with."""
        made = cls(trial_s, start_s, lanes)
        for group in groups:
            made._pending_s[group.deployment.accelerator] += made.expected_s(group)
        trials = [t for g in groups for t in g.trials]
        if trials:
            prior_s = PRIOR_TRIALS * sum(map(trial_s, trials)) / len(trials)
            made._took_s = made._expected_s = prior_s
        return made

    def expected_s(self, group: Group) -> float:
        """Return what is expected of a whole group."""
        return self.start_s(group) + sum(map(self.trial_s, group.trials))

    def begins(self, lane: str, group: Group) -> None:
        """Take note that a lane begins with a group."""
        with self._lock:
            expected_s = self.expected_s(group)
            self._pending_s[group.deployment.accelerator] -= expected_s
            self._running[lane] = group.deployment.accelerator, expected_s - self.start_s(group)

    def ends(self, lane: str, left: Group | None = None) -> None:
        """Take note that a lane is done with its group, but for what is ``left`` for another one."""
        with self._lock:
            self._running.pop(lane, None)
            if left is not None:
                self._pending_s[left.deployment.accelerator] += self.expected_s(left)

    def took(self, lane: str, trial: Wanted, seconds: float | None) -> None:
        """Take note of how long a trial took, all its attempts together; None where there was none."""
        with self._lock:
            expected_s = self.trial_s(trial)
            if seconds is not None:
                self._took_s = FORGETS * self._took_s + seconds
                self._expected_s = FORGETS * self._expected_s + expected_s
            if lane in self._running:
                accelerator, left_s = self._running[lane]
                self._running[lane] = accelerator, max(0.0, left_s - expected_s)

    @property
    def pace(self) -> float:
        """How long trials take, in units of what was expected of them."""
        return self._took_s / self._expected_s if self._expected_s > 0 else 1.0

    def left_s(self) -> float:
        """Return the seconds that are left: of the accelerator that is last, or of the longest group that runs."""
        with self._lock:
            left = defaultdict(float, self._pending_s)
            for accelerator, seconds in self._running.values():
                left[accelerator] += seconds
            shared_s = max((s / max(1, self.lanes.get(a, 1)) for a, s in left.items()), default=0.0)
            longest_s = max((s for _, s in self._running.values()), default=0.0)
            return self.pace * max(shared_s, longest_s)


def lanes_by_accelerator(
    groups: Sequence[Group], nodes: Sequence[Node], lanes: Callable[[Node], int]
) -> dict[str, int]:
    """Return how many groups of each accelerator run at the same time."""
    found: dict[str, int] = {}
    for group in groups:
        accelerator = group.deployment.accelerator
        if accelerator not in found:
            number = sum(lanes(n) for n in nodes if suits(group.deployment, n))
            found[accelerator] = max(1, number // group.deployment.parallel.nodes)
    return found
