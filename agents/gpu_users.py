"""Who uses the GPUs of this node now."""

from __future__ import annotations

import psutil

from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import NvmlError
from joulemark.agents.meters.nvml.gpus import Gpus


def program(pid: int) -> str:
    """Return the name of a process, as far as it can be seen from here."""
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "of another user or container"


def gpu_users() -> dict[str, tuple[str, ...]]:
    """Return the processes with a compute context, as ``pid (program)``, by UUID of GPUs that have any."""
    try:
        gpus = Gpus.found()
    except NvmlError:
        return {}
    if gpus is None:
        return {}
    found = {}
    try:
        for uuid, gpu in gpus.gpus.items():
            try:
                pids = gpus.use(gpu, api.processes)
            except NvmlError:
                continue
            if pids:
                found[uuid] = tuple(f"{pid} ({program(pid)})" for pid in pids)
    finally:
        gpus.close()
    return found
