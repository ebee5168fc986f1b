"""A sweep file in memory: what it says, checked, before anything is multiplied out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulemark.workloads.cell import BESIDE, Scalar
from joulemark.workloads.engines.endpoint import EndpointPlace
from joulemark.workloads.sweep.workload_model import WorkloadAsk

ArgValue = Scalar | Mapping[str, Scalar]
"""An engine argument; a mapping where a common option has several fields."""


@dataclass(frozen=True)
class ModelAsk:
    """One model as the user names it: catalogue name, hub id or path. ``weights`` is ``real`` or ``dummy``."""

    name: str
    revision: str | None = None
    weights: str | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Bound:
    """Numbers between ``low`` and ``high``; the ends count where ``closed`` says so (low end, high end)."""

    low: float = float("-inf")
    high: float = float("inf")
    closed: tuple[bool, bool] = (False, False)

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies inside."""
        above = value >= self.low if self.closed[0] else value > self.low
        below = value <= self.high if self.closed[1] else value < self.high
        return above and below


@dataclass(frozen=True)
class Selection:
    """Models by size and architecture.

    On the model axis they come from the catalogue, those of the hub unless ``source`` says ``generated``; in
    ``exclude`` every model fits that agrees with what is given.
    """

    architecture: str | None = None
    total_params: Bound = field(default_factory=Bound)
    active_params: Bound = field(default_factory=Bound)
    source: str | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class EngineAsk:
    """One engine as an axis value; what it says goes over the sweep's ``engines``.

    The path of ``environment`` is as written: a relative one starts at the sweep file.
    """

    name: str
    version: str | None = None
    args: Mapping[str, ArgValue] = field(default_factory=dict)
    environment: str | None = None
    place: EndpointPlace | None = None


@dataclass(frozen=True)
class EngineSettings:
    """What the sweep's ``engines`` says of one engine. ``environment`` is an interpreter or virtual environment."""

    version: str | None = None
    args: Mapping[str, ArgValue] = field(default_factory=dict)
    environment: str | None = None
    place: EndpointPlace | None = None


@dataclass(frozen=True)
class Axis:
    """One axis of the matrix. The values of the axis ``link`` are mappings from other axes to one value each."""

    name: str
    values: tuple[Any, ...]
    where: str


@dataclass(frozen=True)
class Exclusion:
    """A partial match: every axis in ``conditions`` must agree with one of its alternatives."""

    conditions: Mapping[str, tuple[Any, ...]]
    where: str


@dataclass(frozen=True)
class Inclusion:
    """One cell to add: one value for each axis."""

    values: Mapping[str, Any]
    where: str


@dataclass(frozen=True)
class Measure:
    """How cells are measured; durations in seconds.

    ``phases`` is ``together`` or ``isolate``: then each cell has companions of prompts alone and of long answers.
    ``nodes`` is on how many nodes each cell is measured, None for all that can; ``isolation`` is ``node`` (one engine
    on a node at a time) or ``gpu`` (several, each on GPUs of its own); ``client`` is where the load client runs:
    ``beside`` the engine, or ``apart`` on a node that measures nothing.
    """

    repeats: int = 3
    starts: int = 1
    order: str = "interleave"
    warmup_s: float = 30.0
    window_s: float = 120.0
    isolation: str = "node"
    nodes: int | None = 1
    phases: str = "together"
    client: str = BESIDE


@dataclass(frozen=True)
class Sweep:
    """One sweep file. ``text`` is the file itself, ``source`` its name in messages, ``folder`` where paths start.

    ``slo`` maps a latency and percentile, such as ``ttft_p99``, to its limit in seconds.
    """

    name: str
    axes: tuple[Axis, ...]
    workload: WorkloadAsk
    measure: Measure
    exclude: tuple[Exclusion, ...]
    include: tuple[Inclusion, ...]
    slo: Mapping[str, float]
    engines: Mapping[str, EngineSettings]
    text: str
    source: str
    folder: Path
