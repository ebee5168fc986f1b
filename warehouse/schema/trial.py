"""The trial manifest: the commit record of a trial. A trial exists when its manifest does.

All instants are microseconds since the epoch on the clock of the node that is named beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MANIFEST_VERSION = 1
FOR_TESTS = "sglang-cpu-%"
"""Requirement sets, as an SQL pattern, of engines whose figures mean nothing: put together to test how they are run."""


@dataclass(frozen=True)
class Interval:
    """A time interval on one node's clock, in microseconds."""

    start_us: int
    end_us: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end_us - self.start_us) / 1e6


@dataclass(frozen=True)
class NodePart:
    """What one node contributed: its devices and its intervals.

    ``devices`` are GPU UUIDs, or ``("cpu",)`` where the engine runs on the CPU. ``loaded_idle_cpus`` is how many
    logical CPUs the engine kept busy while it was loaded and asked nothing: some schedulers spin.
    """

    node: str
    boot: str
    devices: tuple[str, ...]
    accelerator: str
    window: Interval | None = None
    cold_idle: Interval | None = None
    loaded_idle: Interval | None = None
    loaded_idle_cpus: float | None = None


@dataclass(frozen=True)
class Trace:
    """Digest over the content of one sealed file: true also after compaction."""

    dataset: str
    path: str
    rows: int
    first_us: int | None
    last_us: int | None
    sums: dict[str, int]


@dataclass(frozen=True)
class ClientApart:
    """Where a load client ran that was on no node of the trial's engine.

    Its instants are on the clock of the engine's node: its own plus ``shift_us``. ``clock_us`` is how far that was off
    at most, from the begin to the end of the load; None where the two were never compared.
    """

    node: str
    shift_us: int
    clock_us: int | None


@dataclass(frozen=True)
class ClientHealth:
    """How the load client fared during the window.

    ``in_flight_fraction`` is of the target, None in an open loop; lag and CPU (share of one core) are those of the
    worst of its ``processes``. In an open loop: requests per second that the schedule asked for in the window and that
    were sent in it, ``late_p99_us`` how late they were sent, ``backlog_max`` how many were due and not sent at one
    time, ``outstanding_growth`` by how many those that were due and not answered grew. ``highest_rate_per_s`` is what
    the deployment sustains of the workload (conversations/s), where the load is a fraction of that. ``resent`` counts
    requests that were sent twice because the server had closed a kept connection. ``apart`` is None for a client on the
    engine's node.
    """

    in_flight_fraction: float | None
    lag_p99_us: int
    cpu_fraction: float
    median_request_us: int | None
    completed: int
    failed: int
    processes: int = 1
    resent: int = 0
    rate_asked_per_s: float | None = None
    rate_achieved_per_s: float | None = None
    late_p99_us: int | None = None
    backlog_max: int = 0
    in_flight_max: int = 0
    outstanding_growth: float | None = None
    highest_rate_per_s: float | None = None
    apart: ClientApart | None = None


@dataclass(frozen=True)
class EngineRecord:
    """The engine as started and as it describes itself. ``ready_s`` is None where it never became ready.

    ``requirement_set`` names the pinned set that its environment was made from, None for an environment of the
    user's. ``weights`` holds licence, commit and digest of what it loaded, as far as its node could tell.
    """

    name: str
    version: str
    start_id: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    reported: dict[str, Any]
    ready_s: float | None
    log: str
    requirement_set: str | None = None
    weights: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialManifest:
    """One trial. ``factors`` are the cell's resolved factors, exactly what ``cell`` hashes."""

    trial: str
    cell: str
    deployment: str
    sweep: str
    start: int
    repeat: int
    attempt: int
    factors: dict[str, Any]
    planned_repeats: int
    planned_starts: int
    outcome: str
    reasons: tuple[str, ...]
    nodes: tuple[NodePart, ...]
    started_us: int
    ended_us: int
    model: dict[str, Any] = field(default_factory=dict)
    """Facts of the model: architecture, total_params, active_params, and where they come from."""
    failure_class: str | None = None
    error: str | None = None
    engine: EngineRecord | None = None
    client: ClientHealth | None = None
    traces: tuple[Trace, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    simulated: bool = False
    duplicate_of: str | None = None
    schema_version: int = MANIFEST_VERSION
