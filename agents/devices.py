"""Which boards a deployment holds, whatever names its devices were given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import NvmlError
from joulemark.agents.meters.nvml.gpus import Gpus
from joulemark.agents.simulation.gpu_file import gpu_uuid
from joulemark.warehouse.errors import EngineError
from joulemark.workloads.cell import Deployment
from joulemark.workloads.engines.endpoint import EndpointPlace


@dataclass(frozen=True)
class HeldDevices:
    """Boards by UUID, each once, or ``("cpu",)``; ``reasons`` are what that says against every trial on them."""

    uuids: tuple[str, ...]
    reasons: tuple[str, ...] = ()


def held_devices(devices: tuple[str, ...], nvml: Mapping[str, Any]) -> HeldDevices:
    """Return the boards of ``devices``: GPU indexes, UUIDs (also shortened) or MIG instances, as CUDA takes them.

    ``nvml`` is what the NVML meter says of itself. A board whose MIG is on counts as a whole, once, however many of
    its instances are held; so does a superchip whose other GPUs are not held.
    """
    if not devices:
        return HeldDevices(("cpu",))
    boards: list[str] = list(nvml.get("boards", {}))
    mig: dict[str, list[str]] = nvml.get("mig", {})
    uuids = tuple(dict.fromkeys(_board(d, boards, mig) for d in devices))
    reasons = ["mig_shared"] if any(u in mig for u in uuids) else []
    modules: dict[str, list[str]] = nvml.get("modules", {})
    if any(first in uuids and not set(gpus) <= set(uuids) for first, gpus in modules.items()):
        reasons.append("node_not_filled")
    return HeldDevices(uuids, tuple(reasons))


def simulated_devices(node: str, deployment: Deployment, devices: tuple[str, ...]) -> dict[str, int]:
    """Return the UUIDs of simulated GPUs with their indexes: those that were reserved, else the first of the node."""
    indexes = [int(d) for d in devices] or range(deployment.parallel.devices)
    return {gpu_uuid(node, deployment.accelerator, index): index for index in indexes}


def endpoint_devices(
    place: EndpointPlace, pid: int | None, deployment: Deployment, nvml: Mapping[str, Any]
) -> HeldDevices:
    """Return the boards that a server which runs already works on: those that are named, else those that its tree uses.

    Raises EngineError where neither gives as many as the cell says.
    """
    if deployment.on_cpu:
        return HeldDevices(("cpu",))
    wanted = deployment.parallel.devices
    held = held_devices(place.devices or _used_by(pid), nvml)
    if held.uuids == ("cpu",) or len(held.uuids) != wanted:
        seen = "none" if held.uuids == ("cpu",) else ", ".join(held.uuids)
        raise EngineError(
            f"the cell says that {place.url} runs on {wanted} x {deployment.accelerator}, and what is seen of it is "
            f"{seen}: run joulemark on its node, and name its GPUs as `devices:` of the endpoint where it runs in a "
            "container",
            "unsupported",
        )
    return held


def _used_by(pid: int | None) -> tuple[str, ...]:
    """Return the UUIDs of the boards that a process or one below it has a compute context on."""
    if pid is None:
        return ()
    try:
        tree = {pid, *(p.pid for p in psutil.Process(pid).children(recursive=True))}
        gpus = Gpus.found()
    except (psutil.Error, NvmlError):
        return ()
    if gpus is None:
        return ()
    try:
        return tuple(uuid for uuid, gpu in gpus.gpus.items() if tree & set(gpus.use(gpu, api.processes)))
    except NvmlError:
        return ()
    finally:
        gpus.close()


def _board(device: str, boards: list[str], mig: Mapping[str, list[str]]) -> str:
    if device.isdigit():
        return boards[int(device)] if int(device) < len(boards) else device
    for board in boards:
        if board.startswith(device) or any(i.startswith(device) for i in mig.get(board, ())):
            return board
    return device
