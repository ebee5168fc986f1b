"""Cells, groups and nodes for tests of placement."""

from joulemark.orchestrator.inventory import Node
from joulemark.workloads.cell import Cell, Deployment, EngineRef, ModelRef, Parallel, WindowPolicy, Workload


def cell(model="a", concurrency=1, accelerator="cpu", devices=1, window_s=2.0):
    deployment = Deployment(
        ModelRef(model, "path", f"/{model}"), "f16", "f16", EngineRef("vllm", "1"), accelerator, Parallel(devices)
    )
    return Cell(deployment, Workload(10, 5, concurrency), WindowPolicy(1.0, window_s))


def node(name, gpus=0, accelerator=None):
    return Node(name, f"id-{name}", gpus, accelerator or ("H100" if gpus else None))


def nodes(number, gpus=0):
    return [node(f"n{i:03d}", gpus) for i in range(number)]
