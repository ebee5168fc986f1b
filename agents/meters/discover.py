"""Which meters this node has. Finding none of a kind is no error; finding one that cannot be read is said."""

from __future__ import annotations

import os

from joulemark.agents.meters.cpu_model import CpuModelMeter
from joulemark.agents.meters.cpu_watts import machine_watts
from joulemark.agents.meters.meter import Meter
from joulemark.agents.meters.nvml import NvmlMeter
from joulemark.agents.meters.rapl import RaplMeter
from joulemark.warehouse.errors import MeterError


def discover(cpu_watts: tuple[float, float] | None = None) -> tuple[list[Meter], list[str]]:
    """Return the meters, and a sentence for each that is there and cannot be read.

    The CPU model stands in only where neither NVML nor RAPL can be read. ``cpu_watts`` are the user's own idle and
    full-load watts for it.
    """
    meters: list[Meter] = []
    warnings: list[str] = []
    nvml = NvmlMeter.found()
    if nvml is not None:
        meters.append(nvml)
    try:
        rapl = RaplMeter.found()
        if rapl is not None:
            meters.append(rapl)
    except MeterError as error:
        warnings.append(str(error))
    if not meters:
        meters.append(CpuModelMeter(machine_watts(os.cpu_count() or 1, cpu_watts)))
    return meters, warnings
