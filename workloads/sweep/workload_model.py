"""What a sweep file says of a workload, checked, before its files are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from joulemark.workloads.workload import Scalar


@dataclass(frozen=True)
class FileAsk:
    """A file as the user names it; a relative path starts at the sweep file."""

    path: str
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class LengthAsk:
    """Lengths in tokens that differ between requests; see Length for what its fields mean. ``most`` None: no limit."""

    kind: str
    least: int = 1
    most: int | None = None
    mean: float | None = None
    stdev: float | None = None
    median: float | None = None
    p90: float | None = None
    file: FileAsk | None = None
    column: str | None = None


@dataclass(frozen=True)
class TraceAsk:
    """A trace to replay. ``columns`` maps ``time``, ``input`` and ``output`` to names; empty for those published."""

    file: FileAsk
    columns: Mapping[str, str] = field(default_factory=dict)
    unit: str | None = None
    speed: float = 1.0
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True)
class PromptsAsk:
    """The user's own prompts; ``max_input_tokens`` is the longest of them, where the user says so."""

    file: FileAsk
    max_input_tokens: int | None = None


@dataclass(frozen=True)
class WorkloadAsk:
    """The fields of a workload that one place of the file gives; others come from the sweep's ``workload``.

    None takes a field away. ``places`` says where each was written.
    """

    fields: Mapping[str, Any]
    request: Mapping[str, Scalar] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict, compare=False)

    def over(self, base: WorkloadAsk) -> WorkloadAsk:
        """Return ``base`` with these fields over it."""
        return WorkloadAsk(
            {**base.fields, **self.fields}, {**base.request, **self.request}, {**base.places, **self.places}
        )
