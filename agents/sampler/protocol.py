"""What the agent and its sampler say to each other: one JSON object a line, over stdin and stdout."""

from __future__ import annotations

import msgspec

from joulemark.workloads.meters import MeterSource


class SamplerConfig(msgspec.Struct, frozen=True):
    """How to sample: sent once, as the first line."""

    node: str
    spool: str
    period_s: float
    cpu_watts: tuple[float, float] | None = None
    sources: tuple[MeterSource, ...] = ()
    window_s: float | None = None


class Order(msgspec.Struct, frozen=True):
    """What the sampler shall do: ``watch`` the process trees of ``pids``, ``rotate`` its segment, or ``stop``."""

    do: str
    pids: tuple[int, ...] = ()


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the sampler says: ``ready``, ``watts`` (about once a second), ``rotated``, ``watching`` or ``failed``.

    ``meters`` comes when something has become known of a meter that is read over the network.
    """

    what: str
    watts: float | None = None
    segment: str | None = None
    meters: dict[str, dict[str, object]] | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None


def line(message: msgspec.Struct) -> bytes:
    """Return a message as one line."""
    return msgspec.json.encode(message) + b"\n"
