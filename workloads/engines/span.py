"""Deployments over several nodes: tensor parallelism within a node, pipeline or data parallelism across."""

from __future__ import annotations

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment
from joulemark.workloads.engines.adapter import Span


def check_span(deployment: Deployment, span: Span) -> None:
    """Raise BadInput where the deployment cannot be shared out over the nodes so that tensor groups stay whole."""
    parallel = deployment.parallel
    if not 0 <= span.rank < span.nodes or span.nodes < 2:
        raise BadInput(f"rank {span.rank} of {span.nodes} nodes: ranks start at 0, and several nodes are at least 2")
    if parallel.devices % span.nodes:
        raise BadInput(f"{parallel.devices} devices cannot be shared out evenly over {span.nodes} nodes")
    if parallel.devices // span.nodes % parallel.tensor:
        raise BadInput(
            f"tensor parallelism over {parallel.tensor} devices would reach across nodes with "
            f"{parallel.devices // span.nodes} each: a smaller tensor size, more pipeline stages or replicas (data)"
        )
