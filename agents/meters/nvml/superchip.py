"""Superchips (GH200, GB200): which GPUs share a module, and what the energy counter of such a GPU counts.

Every GPU of a module reports the same module power, so that only one of them may: the sum over a deployment's GPUs
would count the module once per GPU. The counter of a GH200 is known to count the whole module although its power
fields tell the two apart; for other superchips nobody says, so it is measured.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import FieldRead, Handle, NvmlError
from joulemark.agents.meters.nvml.gpus import Gpu

WATCH_S = 1.0
POLL_S = 0.02
MJ_PER_MW_S = 1.0
"""Millijoules per milliwatt and second."""


def modules(gpus: Sequence[Gpu]) -> dict[str, tuple[str, ...]]:
    """Return the GPUs (UUIDs) of each module, by the first of them: those on the same socket share one."""
    found: dict[object, list[str]] = {}
    for gpu in gpus:
        found.setdefault(gpu.uuid if gpu.numa_node is None else gpu.numa_node, []).append(gpu.uuid)
    return {uuids[0]: tuple(uuids) for uuids in found.values()}


@dataclass
class _Watch:
    """One GPU's counter and powers while they are watched."""

    handle: Handle
    read: FieldRead
    changes: list[tuple[float, int]] = field(default_factory=list)
    powers: list[tuple[int, int]] = field(default_factory=list)
    last_mj: int | None = None

    def look(self) -> None:
        energy, board, module = self.read.read(self.handle)
        if isinstance(energy, NvmlError) or isinstance(board, NvmlError) or isinstance(module, NvmlError):
            return
        if self.last_mj is not None and energy != self.last_mj:
            self.changes.append((time.monotonic(), energy))
        self.last_mj = energy
        self.powers.append((board, module))

    def scope(self) -> str:
        if len(self.changes) < 2:
            return "gpu_module"
        (t0, first), (t1, last) = self.changes[0], self.changes[-1]
        slope_mw = (last - first) / (t1 - t0) / MJ_PER_MW_S
        board, module = (sum(p) / len(self.powers) for p in zip(*self.powers, strict=True))
        return "gpu_board" if abs(slope_mw - board) < abs(slope_mw - module) else "gpu_module"


def counter_scopes(handles: Mapping[str, Handle], seconds: float = WATCH_S) -> dict[str, str]:
    """Return what each GPU's counter counts, ``gpu_board`` or ``gpu_module``: whose power it grows with.

    Watches them all together for ``seconds``; one that does not move in that time is taken for the module's.
    """
    fields = (api.ENERGY, (api.INSTANT, api.SCOPE_GPU), (api.INSTANT, api.SCOPE_MODULE))
    watches = {uuid: _Watch(handle, FieldRead(fields)) for uuid, handle in handles.items()}
    end = time.monotonic() + seconds
    while watches and time.monotonic() < end:
        for watch in watches.values():
            watch.look()
        time.sleep(POLL_S)
    return {uuid: watch.scope() for uuid, watch in watches.items()}
