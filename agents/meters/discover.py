"""Which meters this node has. Finding none of a kind is no error; finding one that cannot be read is said."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from joulemark.agents.meters.cpu_model import CpuModelMeter
from joulemark.agents.meters.cpu_watts import machine_watts
from joulemark.agents.meters.meter import Meter
from joulemark.agents.meters.nvml.average import NvmlAverageMeter
from joulemark.agents.meters.nvml.meter import NvmlMeter
from joulemark.agents.meters.prometheus.meter import PrometheusMeter
from joulemark.agents.meters.rapl import RaplMeter
from joulemark.agents.meters.simulated import SimulatedMeter
from joulemark.warehouse.errors import BadInput, MeterError
from joulemark.workloads.meters import MeterSource

Finder = Callable[[], list[Meter]]
"""Returns the meters of one kind that this node has, none where it has none of that kind.

Raises MeterError, with a sentence for the user, where there is one that cannot be read.
"""
WHOLE_NODES = frozenset({"node_ac", "rack_ac"})


def _gpus() -> list[Meter]:
    try:
        nvml = NvmlMeter.found()
        average = None if nvml is None else NvmlAverageMeter.beside(nvml)
    except MeterError as error:
        raise MeterError(f"GPUs cannot be read: {error}; see `nvidia-smi` on this node") from error
    return [meter for meter in (nvml, average) if meter is not None]


def _sockets() -> list[Meter]:
    rapl = RaplMeter.found()
    return [rapl] if rapl is not None else []


FINDERS: tuple[Finder, ...] = (_gpus, _sockets)
"""Every kind of meter that is read on the node itself."""


def discover(
    cpu_watts: tuple[float, float] | None = None, *, cpu_engines: bool = False
) -> tuple[list[Meter], list[str]]:
    """Return the meters, and a sentence for each that is there and cannot be read.

    The CPU model stands in where no socket can be read and there are engines on the CPU, or where no meter reads
    any part of the node. ``cpu_watts`` are the user's own idle and full-load watts for it.
    """
    meters: list[Meter] = []
    warnings: list[str] = []
    for find in FINDERS:
        try:
            meters += find()
        except MeterError as error:
            warnings.append(str(error))
    scopes = {channel.scope for meter in meters for channel in meter.channels}
    if scopes <= WHOLE_NODES or (cpu_engines and "cpu_package" not in scopes):
        meters.append(CpuModelMeter(machine_watts(os.cpu_count() or 1, cpu_watts)))
    return meters, warnings


def discover_simulated(folder: Path, node: str, gpus: Mapping[str, int]) -> list[Meter]:
    """Return the meter of the simulated GPUs, so many of each label, below the node's ``folder``; none without any."""
    return [SimulatedMeter.of(folder, node, gpus)] if gpus else []


def discover_sources(
    sources: Iterable[MeterSource], node: str, window_s: float | None
) -> tuple[list[PrometheusMeter], list[str]]:
    """Return the meters of the site file that are for this node, scraping already, and sentences as above."""
    meters: dict[str, PrometheusMeter] = {}
    warnings = []
    for source in sources:
        if not source.is_for(node):
            continue
        if source.name in meters:
            warnings.append(f"{node} has two meters called {source.name!r}, and the second is left out: rename it")
            continue
        try:
            meters[source.name] = PrometheusMeter.of(source, node, window_s)
        except BadInput as error:
            warnings.append(str(error))
    for meter in meters.values():
        meter.start()
    return list(meters.values()), warnings
