"""What the agent asks of a load client, and what the client says back: JSON lines over stdin and stdout."""

from __future__ import annotations

from typing import Any

import msgspec


class ClientJob(msgspec.Struct, frozen=True):
    """One trial's load. ``body`` goes into every request; ``prompt_seed`` makes the prompts of this trial unique."""

    trial: str
    node: str
    url: str
    model: str
    spool: str
    concurrency: int
    input_tokens: int
    output_tokens: int
    vocab_size: int
    workload_seed: int
    prompt_seed: int
    warmup_s: float
    window_s: float
    request_timeout_s: float
    drain_s: float
    body: dict[str, Any]
    reuse_connections: bool = True
    api_key: str | None = None


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Said about twice a second. ``phase`` is ``warmup``, ``window`` or ``drain``."""

    phase: str
    tokens_per_s: float
    phase_left_s: float


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Said once, last. ``segment`` holds the requests; reasons are those the client can know."""

    segment: str | None
    window_start_us: int
    window_end_us: int
    in_flight_fraction: float
    lag_p99_us: int
    cpu_fraction: float
    median_request_us: int | None
    completed: int
    failed: int
    reasons: tuple[str, ...]


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """Said once, last, where no measurement was possible."""

    error: str
    failure_class: str = "client_failed"


Report = Progress | Done | Broken
