"""Looks at all nodes of a cluster at the same time, through an actor on each that holds no GPU and no CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from joulemark.agents.clock import NodeClock
from joulemark.agents.clock_offset import Exchange, Offset, offset
from joulemark.orchestrator.doctor import NodeView, unreachable, view
from joulemark.orchestrator.inventory import Node

EXCHANGES = 16
PATIENCE_S = 90.0


def look(nodes: Sequence[Node], labels: Mapping[str, Mapping[str, str]], tell: Callable[[str], None]) -> list[NodeView]:
    """Return the view of every node; one that does not answer says so. ``labels`` are Ray's, by its id of a node."""
    remote = ray.remote(_Doctor)
    doctors = []
    for node in nodes:
        where = NodeAffinitySchedulingStrategy(node.ray_id, soft=False)
        doctors.append(remote.options(num_cpus=0, scheduling_strategy=where).remote())
    tell(f"looking at {len(nodes)} node(s)")
    asked = [d.check_up.remote(n.node) for d, n in zip(doctors, nodes, strict=True)]
    deadline = time.monotonic() + PATIENCE_S
    views = []
    for node, doctor, answer in zip(nodes, doctors, asked, strict=True):
        mine = sorted(labels.get(node.ray_id, {}).items())
        try:
            checkup = ray.get(answer, timeout=max(1.0, deadline - time.monotonic()))
            views.append(view(node, checkup, _offset(doctor), mine))
        except RayError as error:
            views.append(unreachable(node, _first_line(error), mine))
    for doctor in doctors:
        ray.kill(doctor)
    return views


def _offset(doctor: Any) -> Offset | None:
    """Compare the clocks; None where the node's cannot be asked: what keeps it from that is a finding of its own."""
    clock, found = NodeClock.of_this_node(), []
    for _ in range(EXCHANGES):
        before_us = clock.now_us()
        try:
            found.append(Exchange(before_us, ray.get(doctor.now_us.remote(), timeout=PATIENCE_S), clock.now_us()))
        except RayTaskError:
            return None
    return offset(found)


def _first_line(error: RayError) -> str:
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The last line of a traceback is the error itself.
    return said[-1] if said else type(error).__name__


class _Doctor:
    """Looks at the node that it runs on. Nothing of ours is imported before it is asked: it may not be there."""

    def check_up(self, node: str) -> Any:
        from joulemark.agents.checkup import check_up

        return check_up(node)

    def now_us(self) -> int:
        from joulemark.agents.clock import NodeClock

        return NodeClock.of_this_node().now_us()
