"""A cell is one point of the matrix; a deployment is the part of it that decides how the engine starts.

Identity is the hash of the resolved factors, and nothing else: site, prices, nodes and the number of repeats
are not in it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from joulemark.warehouse.schema.identity import content_id
from joulemark.workloads.workload import (
    Arrivals,
    Conversation,
    Length,
    Load,
    Prefix,
    Scalar,
    Stretch,
    Trace,
    Workload,
)

__all__ = [
    "Arrivals",
    "Cell",
    "Conversation",
    "Deployment",
    "EngineRef",
    "Length",
    "Load",
    "ModelRef",
    "Parallel",
    "Prefix",
    "Scalar",
    "Stretch",
    "Trace",
    "WindowPolicy",
    "Workload",
]


BESIDE, APART = "beside", "apart"


@dataclass(frozen=True)
class ModelRef:
    """Which model, and where its weights come from.

    ``source`` is ``generated`` (made on the node from ``location``, a generator preset), ``hub`` (``location`` is a
    hub id) or ``path`` (a local folder or file). ``weights`` is ``generated``, ``real`` or ``dummy``.
    """

    name: str
    source: str
    location: str
    revision: str | None = None
    weights: str = "real"


@dataclass(frozen=True)
class EngineRef:
    """Which engine in which exact version, with its extra arguments (without leading dashes)."""

    name: str
    version: str
    args: dict[str, Scalar] = field(default_factory=dict)

    @property
    def named(self) -> str:
        """Name and version, as in ``vllm 0.33.0``: what an environment holds."""
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Parallel:
    """How many devices share the work, and how; ``nodes`` is how many nodes they are spread over evenly."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert: bool = False
    nodes: int = 1

    @property
    def devices(self) -> int:
        """Devices that one deployment needs."""
        return self.tensor * self.pipeline * self.data

    @property
    def devices_per_node(self) -> int:
        """Devices that it needs on each of its nodes."""
        return self.devices // self.nodes


@dataclass(frozen=True)
class WindowPolicy:
    """How long to warm up and to measure, in seconds, and where the load client runs.

    ``client`` is ``beside`` the engine, on its node, or ``apart`` from it, on a node that measures nothing.
    """

    warmup_s: float
    window_s: float
    client: str = BESIDE

    @property
    def factors(self) -> dict[str, Any]:
        """What is hashed and stored. A client beside is not named: such cells were there before there was another."""
        found = asdict(self)
        if self.client == BESIDE:
            del found["client"]
        return found


@dataclass(frozen=True)
class Deployment:
    """How an engine is started; cells that share it share an engine start."""

    model: ModelRef
    quantization: str
    kv_type: str
    engine: EngineRef
    accelerator: str
    parallel: Parallel
    power_limit_w: int | None = None

    @cached_property
    def deployment_id(self) -> str:
        """Hash of all of it."""
        return content_id(self.factors)

    @property
    def factors(self) -> dict[str, Any]:
        """What is hashed and stored. One node is not named: such deployments were there before several could be."""
        found = asdict(self)
        if self.parallel.nodes == 1:
            del found["parallel"]["nodes"]
        return found

    @property
    def on_cpu(self) -> bool:
        """Whether the engine needs no GPU."""
        return self.accelerator == "cpu"


@dataclass(frozen=True)
class Cell:
    """One point of the matrix."""

    deployment: Deployment
    workload: Workload
    window: WindowPolicy

    @property
    def factors(self) -> dict[str, Any]:
        """The resolved factors, exactly what ``cell_id`` hashes; stored in every trial manifest.

        Keys: model, quantization, kv_type, engine, accelerator, parallel, power_limit_w, workload, window.
        """
        return {**self.deployment.factors, "workload": self.workload.factors, "window": self.window.factors}

    @cached_property
    def cell_id(self) -> str:
        """Hash of the factors."""
        return content_id(self.factors)
