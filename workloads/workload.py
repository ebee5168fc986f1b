"""What is asked of the engine: lengths, arrivals, load and prompts. Plain records, part of a cell's identity.

Files (traces, tables of lengths, prompts) are named by the digest of their content, never by path.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Length:
    """Lengths in tokens that differ between requests, rounded and held within ``least`` and ``most``.

    ``kind`` says which other fields count: ``uniform`` (none: all whole numbers from least to most alike), ``normal``
    (mean, stdev), ``lognormal`` (mean and stdev, or median and p90, of the lengths themselves), ``table`` (a column of
    the file ``table``; two lengths from one file are taken from one row), ``trace`` and ``prompts`` (those of the
    workload's trace or own prompts). For ``prompts``, ``most`` of the input is what the engine is made ready for, and
    ``otherwise`` is the answer length of lines that give none.
    """

    kind: str
    least: int
    most: int
    mean: float | None = None
    stdev: float | None = None
    median: float | None = None
    p90: float | None = None
    table: str | None = None
    column: str | None = None
    otherwise: int | None = None


@dataclass(frozen=True)
class Stretch:
    """Part of a schedule: the rate goes linearly from one to another (requests/s) within ``duration_s`` seconds."""

    from_per_s: float
    to_per_s: float
    duration_s: float


@dataclass(frozen=True)
class Trace:
    """A recorded trace: the digest of its file, the columns that count, and the part that is replayed.

    ``speed`` divides all times. ``begin_s`` and ``end_s`` bound the part, in seconds of replay since the first request
    of the trace; ``end_s`` is None for all of it.
    """

    table: str
    time: str
    input: str | None = None
    output: str | None = None
    unit: str = "s"
    speed: float = 1.0
    begin_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True)
class Arrivals:
    """Open loop: requests arrive when they are due, whether or not others have been answered.

    ``process`` is ``constant``, ``poisson``, ``gamma`` or ``trace``. ``burstiness`` is the shape of the gamma
    distribution of the gaps, as in vLLM's benchmark: 1 is Poisson, less is burstier, and the gaps' coefficient of
    variation is 1/sqrt(burstiness). Rate: ``rate_per_s`` (requests/s; None where ``load`` decides it), or a schedule of
    ``stretches``, or the trace's own. With conversations, the rate counts their beginnings.
    """

    process: str
    rate_per_s: float | None = None
    burstiness: float | None = None
    stretches: tuple[Stretch, ...] = ()
    trace: Trace | None = None


@dataclass(frozen=True)
class Load:
    """How hard: a ``fraction`` of the highest sustained throughput, or a ``percentile`` of a trace's own load."""

    fraction: float | None = None
    percentile: float | None = None


@dataclass(frozen=True)
class Prefix:
    """The first ``tokens`` of every prompt are shared by all prompts of its group, of which there are ``groups``."""

    tokens: int
    groups: int = 1


@dataclass(frozen=True)
class Conversation:
    """``turns`` requests one after the other, each ``pause_s`` seconds after the last answer ended."""

    turns: int
    pause_s: float = 0.0


@dataclass(frozen=True)
class Workload:
    """What is asked of the engine. ``request`` holds extra request parameters as the engine's API names them.

    ``arrivals`` is the text ``closed`` for a closed loop at ``concurrency``, which is None in an open loop. ``prompts``
    is the digest of the user's own prompts, ``tokenizer`` that of the ``tokenizer.json`` by which prompts are texts of
    exact lengths (None: they are token ids). ``stop`` is ``fixed`` (answers as long as asked for) or ``natural`` (the
    model ends them; ``output_tokens`` is the most). ``max_in_flight`` is how many requests the engine is made ready to
    work on at the same time in an open loop.
    """

    input_tokens: int | Length
    output_tokens: int | Length
    concurrency: int | None
    arrivals: str | Arrivals = "closed"
    seed: int = 0
    request: dict[str, Scalar] = field(default_factory=dict)
    load: Load | None = None
    prefix: Prefix | None = None
    conversation: Conversation | None = None
    prompts: str | None = None
    tokenizer: str | None = None
    stop: str = "fixed"
    max_in_flight: int | None = None

    @property
    def open_loop(self) -> bool:
        """Whether requests arrive by the clock."""
        return isinstance(self.arrivals, Arrivals)

    @property
    def context_tokens(self) -> int:
        """The longest prompt plus answer, in tokens."""
        turns = self.conversation.turns if self.conversation else 1
        return turns * (most(self.input_tokens) + most(self.output_tokens))

    @property
    def factors(self) -> dict[str, Any]:
        """All of it as plain values. What is left at its default is left out, but for seed and request.

        So a fixed closed loop has the JSON that it had before there was anything else.
        """
        found = _plain(asdict(self)) | {"seed": self.seed, "request": dict(self.request)}
        return {key: value for key, value in found.items() if (key, value) != ("stop", "fixed")}


def least(length: int | Length) -> int:
    """Return the shortest that ``length`` can be."""
    return length.least if isinstance(length, Length) else length


def most(length: int | Length) -> int:
    """Return the longest that ``length`` can be."""
    return length.most if isinstance(length, Length) else length


_DEFAULTS: dict[str, Any] = {"unit": "s", "speed": 1.0, "begin_s": 0.0, "pause_s": 0.0, "groups": 1, "stretches": ()}


def _plain(value: Any) -> Any:
    """Leave out of records what is None or a default."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if not (k in _DEFAULTS and v == _DEFAULTS[k]) and v is not None}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
