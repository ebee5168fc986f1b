"""Which boards a deployment holds, whatever names its devices were given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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


def _board(device: str, boards: list[str], mig: Mapping[str, list[str]]) -> str:
    if device.isdigit():
        return boards[int(device)] if int(device) < len(boards) else device
    for board in boards:
        if board.startswith(device) or any(i.startswith(device) for i in mig.get(board, ())):
            return board
    return device
