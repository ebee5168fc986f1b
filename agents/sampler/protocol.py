"""What the agent and its sampler say to each other: one JSON object a line, over stdin and stdout."""

from __future__ import annotations

import msgspec

from joulemark.workloads.meters import MeterSource


class Timing(msgspec.Struct, frozen=True):
    """What was measured of a meter, and how often it is read for that. None: it could not be found out."""

    every_s: float
    """Interval between reads."""
    update_s: float | None = None
    """The shortest of the update periods below."""
    energy_s: dict[str, float] = {}
    """By scope: interval between steps of the energy counter."""
    power_s: dict[str, float] = {}
    """By scope: interval between new power readings."""
    resolution_s: float | None = None
    """Interval between the reads that this was found with: shorter periods look as long as this."""
    read_us: float | None = None
    """Median time of one read of all devices."""
    read_cpu_us: float | None = None
    """Median CPU time of one read of all devices."""
    fails_below_s: float | None = None
    """Read at shorter intervals than this, it gave no readings."""


class SamplerConfig(msgspec.Struct, frozen=True):
    """How to sample: sent once, as the first line."""

    node: str
    spool: str
    period_s: float
    """Interval between reads of a meter whose update period could not be found out."""
    cpu_watts: tuple[float, float] | None = None
    run: str = ""
    """Name of this run of a sampler, which no other on this node has had; the names of its files hold it."""
    pids: tuple[int, ...] = ()
    """The process trees to watch from the start."""
    timings: dict[str, Timing] = {}
    """Meters that were measured before: they are not measured again."""
    sources: tuple[MeterSource, ...] = ()
    """The site file's meters, of which the node takes what is for it."""
    window_s: float | None = None
    """The shortest window that these must do for."""
    simulated_gpus: dict[str, int] = {}
    """How many GPUs of each label are simulated here; their files lie beside the spool folder."""
    cpu_engines: bool = False
    """Whether engines on the CPU are to be measured."""


class Order(msgspec.Struct, frozen=True):
    """What the sampler shall do: ``watch`` the process trees of ``pids``, ``rotate`` its segments, or ``stop``."""

    do: str
    pids: tuple[int, ...] = ()


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the sampler says: ``ready``, ``watts`` (every two seconds), ``rotated``, ``watching`` or ``failed``.

    ``meters`` comes when something has become known of a meter that is read over the network.
    """

    what: str
    watts: float | None = None
    segments: tuple[str, ...] = ()
    meters: dict[str, dict[str, object]] | None = None
    timings: dict[str, Timing] = {}
    warnings: tuple[str, ...] = ()
    error: str | None = None


def line(message: msgspec.Struct) -> bytes:
    """Return a message as one line."""
    return msgspec.json.encode(message) + b"\n"
