"""What the agent asks of a load client, and what is said between its parts: JSON lines over stdin and stdout.

All instants are microseconds since the epoch on the job's ``clock``, that of the engine's node. ``node`` is the one
that the client runs on; where that is another one, the clock is its own, put forward.
"""

from __future__ import annotations

from typing import Any

import msgspec

from joulemark.agents.clock import NodeClock
from joulemark.workloads.workload import Workload


class ClientJob(msgspec.Struct, frozen=True, kw_only=True):
    """One trial's load.

    ``body`` goes into every request, ``fixed_length`` into those whose answer must have a length. ``tables`` is a
    folder with the files that the workload names. ``prompt_seed`` makes the prompts of this trial unique.
    ``processes`` and ``max_connections`` of 0 mean as many as it takes. ``highest_rate_per_s`` is the deployment's, of
    conversations, where it is known.
    """

    trial: str
    node: str
    clock: NodeClock
    url: str
    model: str
    spool: str
    workload: Workload
    vocab_size: int
    prompt_seed: int
    warmup_s: float
    window_s: float
    body: dict[str, Any]
    fixed_length: dict[str, Any] = {}
    tables: str | None = None
    request_timeout_s: float = 600.0
    stall_timeout_s: float = 300.0
    drain_s: float = 120.0
    reuse_connections: bool = True
    api_key: str | None = None
    processes: int = 0
    max_connections: int = 0
    highest_rate_per_s: float | None = None
    worker: int = 0
    workers: int = 1


# From the conductor to a worker.


class Streams(msgspec.Struct, frozen=True, tag="streams"):
    """Search: be your share of so many streams of a closed loop; new ones start within ``spread_s``. 0 ends it."""

    total: int
    spread_s: float


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Begin the load at an instant; in an open loop at ``rate_per_s`` where the workload leaves it open."""

    at_us: int
    rate_per_s: float | None = None


class Window(msgspec.Struct, frozen=True, tag="window"):
    """Measure from start to end; send nothing after it, let what is in flight end, and say Ended."""

    start_us: int
    end_us: int


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End the load now, and say Ended."""


Command = Streams | Begin | Window | Stop


# From a worker to the conductor.


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Said once, first: the worker can begin. The rest is the traffic's own."""

    open_loop: bool
    steady: bool
    duration_s: float | None
    turns: int


class EndedRequest(msgspec.Struct, frozen=True, array_like=True):
    """A request that ended. ``cycle_us`` is how long it kept its stream, with the pause before it."""

    ended_us: int
    duration_us: int
    cycle_us: int
    answered: bool


class Pulse(msgspec.Struct, frozen=True, tag="pulse"):
    """Said a few times a second: tokens received so far in all, and what has ended since the pulse before."""

    tokens: int
    ended: tuple[EndedRequest, ...]
    last_error: str | None


class Rested(msgspec.Struct, frozen=True, tag="rested"):
    """The search's streams have ended."""


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """Said once, last. ``segment`` holds the requests; lag and CPU are of the window."""

    segment: str | None
    lag_p99_us: int
    cpu_fraction: float
    resent: int


# What the agent hears.


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Said about twice a second. ``phase`` is ``search``, ``warmup``, ``window`` or ``drain``."""

    phase: str
    tokens_per_s: float
    phase_left_s: float


class Done(msgspec.Struct, frozen=True, tag="done", kw_only=True):
    """The load ran to its end. ``segments`` hold the requests; reasons are those the client can know.

    ``in_flight_fraction`` is None in an open loop; the rates are of requests, None in a closed one. ``backlog_max`` is
    the highest number of requests that were due and not sent, ``outstanding_growth`` by how many those that were
    due and not answered grew over the window.
    """

    segments: tuple[str, ...]
    window_start_us: int
    window_end_us: int
    in_flight_fraction: float | None
    lag_p99_us: int
    cpu_fraction: float
    median_request_us: int | None
    completed: int
    failed: int
    reasons: tuple[str, ...]
    processes: int = 1
    resent: int = 0
    rate_asked_per_s: float | None = None
    rate_achieved_per_s: float | None = None
    late_p99_us: int | None = None
    backlog_max: int = 0
    in_flight_max: int = 0
    outstanding_growth: float | None = None
    highest_rate_per_s: float | None = None


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """Said once, last, where no measurement was possible; by a worker or by the conductor."""

    error: str
    failure_class: str = "client_failed"


Report = Ready | Pulse | Rested | Ended | Broken
