"""How many engines run on a node at the same time: one, or with ``isolation: gpu`` as many as its GPUs allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from joulemark.orchestrator.inventory import Node
from joulemark.orchestrator.plan import Group


@dataclass(frozen=True)
class Lanes:
    """``smallest`` are the fewest GPUs that any deployment takes, by accelerator; empty where nodes are not shared."""

    smallest: Mapping[str, int]

    @classmethod
    def of(cls, isolation: str, groups: Iterable[Group]) -> Lanes:
        """Return the lanes for these groups under an isolation of ``node`` or ``gpu``."""
        found: dict[str, int] = {}
        for group in groups if isolation == "gpu" else ():
            d = group.deployment
            if not d.on_cpu:
                devices = d.parallel.devices_per_node
                found[d.accelerator] = min(devices, found.get(d.accelerator, devices))
        return cls(found)

    def on(self, node: Node) -> int:
        """Return the lanes of a node."""
        fewest = self.smallest.get(node.accelerator or "")
        return max(1, node.gpus // fewest) if fewest else 1

    def of_group(self, node: Node, group: Group) -> int:
        """Return how many groups like this one a node runs at the same time."""
        if not self.smallest or group.deployment.on_cpu:
            return 1
        return max(1, node.gpus // group.deployment.parallel.devices_per_node)

    def shared(self, node: Node, group: Group) -> bool:
        """Return whether other engines may run on the node beside the group's."""
        d = group.deployment
        return bool(self.smallest) and not d.on_cpu and d.parallel.devices_per_node < node.gpus
