"""Deployments over several nodes: tensor parallelism within a node, pipeline or data parallelism across."""

from __future__ import annotations

from joulemark.workloads.cell import Deployment

SPANNING = ("vllm", "sglang")
"""Engines that run over several nodes."""


def span_refusal(deployment: Deployment) -> str | None:
    """Return why the deployment cannot be shared out over its nodes so that tensor groups stay whole, or None."""
    parallel, engine = deployment.parallel, deployment.engine.name
    if parallel.nodes == 1:
        return None
    if engine not in SPANNING:
        return f"{engine} runs on one node: parallel: {{nodes: {parallel.nodes}}} is for {' and '.join(SPANNING)}"
    if parallel.devices % parallel.nodes:
        return f"{parallel.devices} devices cannot be shared out evenly over {parallel.nodes} nodes"
    if parallel.devices_per_node % parallel.tensor:
        return (
            f"tensor parallelism over {parallel.tensor} devices would reach across nodes with "
            f"{parallel.devices_per_node} each: a smaller tensor size, more pipeline stages or replicas (data)"
        )
    if engine == "sglang" and parallel.data > 1 and not parallel.expert:
        return "sglang has no replicas (data) across nodes: use pipeline parallelism, or with experts expert: true"
    return None
