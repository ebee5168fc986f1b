"""Which meters this node has. Finding none of a kind is no error; finding one that cannot be read is said."""

from __future__ import annotations

import os

from joulemark.agents.meters.cpu_model import CpuModelMeter
from joulemark.agents.meters.cpu_watts import machine_watts
from joulemark.agents.meters.meter import Meter
from joulemark.agents.meters.nvml.average import NvmlAverageMeter
from joulemark.agents.meters.nvml.meter import NvmlMeter
from joulemark.agents.meters.rapl import RaplMeter
from joulemark.warehouse.errors import MeterError


def discover(cpu_watts: tuple[float, float] | None = None) -> tuple[list[Meter], list[str]]:
    """Return the meters, and a sentence for each that is there and cannot be read.

    The CPU model stands in only where neither NVML nor RAPL can be read. ``cpu_watts`` are the user's own idle and
    full-load watts for it.
    """
    meters: list[Meter] = []
    warnings: list[str] = []
    try:
        nvml = NvmlMeter.found()
        if nvml is not None:
            average = NvmlAverageMeter.beside(nvml)
            meters += [nvml] if average is None else [nvml, average]
    except MeterError as error:
        warnings.append(f"GPUs cannot be read: {error}; see `nvidia-smi` on this node")
    try:
        rapl = RaplMeter.found()
        if rapl is not None:
            meters.append(rapl)
    except MeterError as error:
        warnings.append(str(error))
    if not meters:
        meters.append(CpuModelMeter(machine_watts(os.cpu_count() or 1, cpu_watts)))
    return meters, warnings
