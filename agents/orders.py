"""What a driver asks of a node agent, and what it gets back. Plain records: they travel through Ray."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from joulemark.agents.client.job import Broken, Done
from joulemark.warehouse.schema.trial import ClientApart, ClientHealth, EngineRecord, Interval, NodePart, Trace
from joulemark.workloads.cell import Cell, Deployment
from joulemark.workloads.engines.adapter import ApiTraits, Span
from joulemark.workloads.engines.endpoint import EndpointPlace
from joulemark.workloads.meters import MeterSource
from joulemark.workloads.traffic.tables import Tables


@dataclass(frozen=True)
class AgentConfig:
    """Who the agent is and whom it serves.

    ``environments`` maps engines with their versions to prepared ones that the user named, ``endpoints`` the versions
    that are declared of servers that run already to where they are. ``meters`` are those of the site file, of which
    the node takes what is for it; ``window_s`` is the shortest window that they must do for. ``warehouse`` is where the
    driver has it, which this node may not reach; ``warehouse_id`` is what the warehouse says that it is.
    """

    node: str
    warehouse: str
    warehouse_id: str = "0"
    sweep: str = ""
    sample_period_s: float = 0.1
    lease_s: float = 60.0
    cpu_watts: tuple[float, float] | None = None
    environments: dict[str, str] = field(default_factory=dict)
    endpoints: dict[str, EndpointPlace] = field(default_factory=dict)
    meters: tuple[MeterSource, ...] = ()
    window_s: float | None = None
    cpu_engines: bool = False
    """Whether some of the sweep's engines run on the CPU."""
    simulated_gpus: dict[str, int] = field(default_factory=dict)
    """How many GPUs of each label the node is to simulate."""


@dataclass(frozen=True)
class StartOrder:
    """Start an engine. ``devices`` are GPU indexes or UUIDs as CUDA takes them; empty on the CPU.

    ``weight_bytes`` is about how much it has to read, None where that is not known. ``lane`` is which of the engines
    it is that the node runs at the same time; ``shared`` says that there may be others. ``span`` is the node's part
    of a deployment over several nodes, whose rank 0 serves. ``listen`` is the node's address where the load comes from
    another node, None for loopback.
    """

    deployment: Deployment
    slots: int
    context_tokens: int
    devices: tuple[str, ...] = ()
    idle_s: float = 2.0
    weight_bytes: float | None = None
    lane: int = 0
    shared: bool = False
    span: Span | None = None
    listen: str | None = None


@dataclass(frozen=True)
class StartResult:
    """An engine start on devices (GPU UUIDs, or ``("cpu",)``), from when to when on the node's clock.

    Where it failed, ``failure_class`` and ``error`` say why, and ``engine`` is the engine as far as it came: None where
    nothing was started. ``others`` are the parts of the other nodes of a deployment over several.
    """

    engine: EngineRecord | None
    devices: tuple[str, ...]
    started_us: int
    ended_us: int
    failure_class: str | None = None
    error: str | None = None
    engine_log: tuple[str, ...] = ()
    """The last lines that an engine wrote which did not start."""
    others: tuple[NodePart, ...] = ()


@dataclass(frozen=True)
class TrialOrder:
    """Run one trial on the engine that runs in ``lane``.

    ``tables`` hold the files that its workload names by their digests.
    """

    trial: str
    cell: Cell
    vocab_size: int
    prompt_seed: int
    tables: Tables = field(default_factory=Tables)
    lane: int = 0


@dataclass(frozen=True)
class Target:
    """A server and how to talk to it. ``highest_rate_per_s`` is what it sustains of the workload, where known."""

    url: str
    model: str
    api: ApiTraits
    api_key: str | None = field(default=None, repr=False)
    highest_rate_per_s: float | None = None


@dataclass(frozen=True)
class LoadOrder:
    """Carry the load of a trial whose engine is on another node, with this node's clock put forward by ``shift_us``.

    ``source`` names the engine's node and lane: of these, one load comes after the other.
    """

    trial: TrialOrder
    target: Target
    shift_us: int
    source: str


@dataclass(frozen=True)
class Loaded:
    """How the load of a trial went, its instants on the clock of the engine's node; ``apart`` of one from elsewhere."""

    said: Done | Broken
    traces: tuple[Trace, ...]
    apart: ClientApart | None = None


@dataclass(frozen=True)
class TrialResult:
    """What a trial gave; the driver makes the manifest of it.

    ``part`` is that of the node that serves, ``others`` those of the other nodes of a deployment over several.
    """

    outcome: str
    reasons: tuple[str, ...]
    part: NodePart
    started_us: int
    ended_us: int
    traces: tuple[Trace, ...] = ()
    client: ClientHealth | None = None
    failure_class: str | None = None
    error: str | None = None
    engine_log: tuple[str, ...] = ()
    """The last lines that an engine wrote which died."""
    others: tuple[NodePart, ...] = ()


@dataclass(frozen=True)
class RankEnd:
    """A rank of a deployment over several nodes ended by itself: how, and the last lines that it wrote."""

    failure_class: str
    error: str
    engine_log: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartOrder:
    """Seal what a node recorded of a trial that another one led. All instants are on this node's clock.

    ``since_us`` is when the trial began; the intervals are None where the trial had none.
    """

    lane: int
    since_us: int
    window: Interval | None
    loaded_idle: Interval | None


@dataclass(frozen=True)
class PartResult:
    """A node's part of a trial that another one led, what was sealed of it, and what is not as it should be."""

    part: NodePart
    traces: tuple[Trace, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class NodeFacts:
    """A node as its agent finds it."""

    node: str
    boot: str
    now_us: int
    cpu: str
    logical_cpus: int
    memory_bytes: int
    accelerators: tuple[str, ...]
    devices: tuple[str, ...]
    driver: str | None
    meters: dict[str, dict[str, Any]]
    versions: dict[str, str]
    warnings: tuple[str, ...] = ()
    ended_leftovers: int = 0
    waited: bool = False
    """Whether another agent, of another sweep or another run of this one, held the node when this one came."""


@dataclass(frozen=True)
class AgentProgress:
    """What the agent is doing right now."""

    doing: str
    tokens_per_s: float | None = None
    watts: float | None = None
    lanes: tuple[AgentProgress, ...] = ()
    """Where several engines run, what each of their lanes does."""
    sampler_restarts: int | None = None
    """How often the sampler died and was started again; None before there is one."""
