"""Nodes and what can run on them, whether Ray told of them or this machine was looked at."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from joulemark.agents.meters.nvml.gpus import Gpus
from joulemark.workloads.cell import Deployment
from joulemark.workloads.engines.simulated import Simulated

_BOARD = re.compile(r"\w+\s+([A-Z]+[0-9]+[A-Z0-9]*)")
"""How Ray makes its accelerator label of a board's name: ``NVIDIA H100 80GB HBM3`` is ``H100``."""


@dataclass(frozen=True)
class Node:
    """One living node. ``accelerator`` is the label of its GPUs, None where it has none.

    ``memory_bytes`` is the memory of one of its GPUs, None where that is not known (Ray does not tell). One that
    ``takes_work`` declares CPUs or GPUs to Ray; a head that is to do nothing else declares none. Other nodes reach it
    at ``address``.
    """

    node: str
    ray_id: str
    gpus: int
    accelerator: str | None
    memory_bytes: int | None = None
    takes_work: bool = True
    address: str = ""


def this_machine() -> Node:
    """Return this machine as the single node that a local Ray would have."""
    gpus = Gpus.found()
    boards = [g.name for g in gpus.gpus.values()] if gpus is not None else []
    memory_bytes = gpus.memory_bytes() if gpus is not None else None
    if gpus is not None:
        gpus.close()
    found = _BOARD.match(boards[0]) if boards else None
    return Node(socket.gethostname(), "", len(boards), found[1] if found else None, memory_bytes)


def accelerator_for_any(nodes: Sequence[Node]) -> str:
    """Return what ``accelerator: any`` stands for here: the most frequent GPU, or the CPU where there is none."""
    labels = Counter(n.accelerator for n in nodes if n.accelerator is not None)
    return labels.most_common(1)[0][0] if labels else "cpu"


def memory_of_accelerators(nodes: Sequence[Node]) -> dict[str, int]:
    """Return the memory of one GPU by label, where every node with such GPUs tells; the largest where they differ."""
    found: dict[str, int] = {}
    for label in {n.accelerator for n in nodes if n.accelerator is not None}:
        sizes = [n.memory_bytes for n in nodes if n.accelerator == label]
        known = [size for size in sizes if size is not None]
        if len(known) == len(sizes):
            found[label] = max(known)
    return found


def suits(deployment: Deployment, node: Node) -> bool:
    """Return whether the node can hold the deployment, or its part of one over several nodes."""
    if not node.takes_work:
        return False
    if deployment.on_cpu or simulated_here(deployment, node):
        return True
    return deployment.accelerator == node.accelerator and node.gpus >= deployment.parallel.devices_per_node


def simulated_here(deployment: Deployment, node: Node) -> bool:
    """Return whether the node simulates the GPUs of the deployment without reserving any: it declares none to Ray."""
    return deployment.engine.name == Simulated.name and not node.gpus


def reserved(deployment: Deployment, node: Node) -> int:
    """Return how many GPUs of the node are reserved for the deployment."""
    return 0 if deployment.on_cpu or simulated_here(deployment, node) else deployment.parallel.devices_per_node


def simulated_gpus(deployments: Iterable[Deployment], node: Node) -> dict[str, int]:
    """Return how many GPUs of each label the node simulates: its own, else as many as are needed."""
    found: dict[str, int] = {}
    for deployment in deployments:
        if deployment.engine.name == Simulated.name and suits(deployment, node):
            label = deployment.accelerator
            found[label] = max(found.get(label, 0), node.gpus or deployment.parallel.devices)
    return found


def why_nowhere(deployment: Deployment, nodes: Sequence[Node]) -> str | None:
    """Return why these nodes cannot hold the deployment, None where they can."""
    parallel = deployment.parallel
    found = sum(suits(deployment, n) for n in nodes)
    if found >= parallel.nodes:
        return None
    there = ", ".join(sorted({_has(n) for n in nodes}))
    wanted = "a CPU" if deployment.on_cpu else f"{parallel.devices_per_node} x {deployment.accelerator}"
    if parallel.nodes > 1:
        return f"needs {wanted} in each of {parallel.nodes} nodes, and {found} can hold that; the nodes have: {there}"
    together = sum(n.gpus for n in nodes if n.accelerator == deployment.accelerator) >= parallel.devices
    if together and parallel.pipeline * parallel.data > 1:
        return f"needs {wanted} in one node, or parallel: {{nodes: ...}} to span several; the nodes have: {there}"
    return f"needs {wanted} in one node; the nodes have: {there}"


def _has(node: Node) -> str:
    if not node.takes_work:
        return "no CPU for work"
    return f"{node.gpus} x {node.accelerator}" if node.gpus else "no GPU"
