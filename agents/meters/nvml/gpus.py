"""The node's GPUs by UUID, through device loss and driver reloads."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import Handle, NvmlError

T = TypeVar("T")
PCI = Path("/sys/bus/pci/devices")
RETRY_S = (1.0, 30.0)
"""How long to leave a vanished GPU alone before the first and before later attempts."""


@dataclass
class Gpu:
    """One board. ``handle`` is None while it is gone; ``mig`` are its MIG instances, None where MIG is off."""

    uuid: str
    name: str
    handle: Handle | None
    mig: tuple[str, ...] | None = None
    numa_node: int | None = None
    _error: NvmlError | None = None
    _retry_at: float = 0.0
    _pause_s: float = RETRY_S[0]

    def gone(self, error: NvmlError) -> None:
        """Note that it cannot be used, and when to look again."""
        self.handle, self._error = None, error
        self._retry_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, RETRY_S[1])

    def look_again(self) -> None:
        """Note that its handle is worth nothing, and that it may be there all the same."""
        self.handle, self._retry_at = None, 0.0

    def well(self) -> None:
        """Note that it has answered."""
        self._pause_s = RETRY_S[0]

    @property
    def resting(self) -> NvmlError | None:
        """Why it is not to be asked now; None where it may be."""
        return self._error if self.handle is None and time.monotonic() < self._retry_at else None


@dataclass
class Gpus:
    """All GPUs of the node in the order of their index."""

    gpus: dict[str, Gpu] = field(default_factory=dict)
    driver: str = ""
    _dead: bool = False

    @classmethod
    def found(cls, pci: Path = PCI) -> Gpus | None:
        """Return the GPUs, or None where there is no NVIDIA driver or no GPU.

        Raises NvmlError where a driver is there and cannot be used.
        """
        try:
            api.open_library()
        except NvmlError as error:
            if error.absent:
                return None
            raise
        try:
            found = cls(_all_gpus(pci), api.driver_version())
        except NvmlError:
            api.close_library()
            raise
        if not found.gpus:
            found.close()
            return None
        return found

    def memory_bytes(self) -> int | None:
        """Return the memory of the largest board, None where none tells."""
        found = []
        for gpu in self.gpus.values():
            if gpu.handle is not None:
                with suppress(NvmlError):
                    found.append(api.memory_total_bytes(gpu.handle))
        return max(found, default=None)

    def close(self) -> None:
        """Let go of the library."""
        api.close_library()

    def use(self, gpu: Gpu, call: Callable[[Handle], T]) -> T:
        """Return what ``call`` says of a GPU, looking for it first where it was gone. Raises NvmlError."""
        try:
            if gpu.handle is None:
                self._look_for(gpu)
            answer = call(gpu.handle)
        except NvmlError as error:
            if error.gone and gpu.resting is None:
                self._note(gpu, error)
            raise
        gpu.well()
        return answer

    def _look_for(self, gpu: Gpu) -> None:
        resting = gpu.resting
        if resting is not None:
            raise resting
        if self._dead:
            api.reopen()
            self._dead = False
            for other in self.gpus.values():
                other.look_again()
        gpu.handle = api.by_uuid(gpu.uuid)

    def _note(self, gpu: Gpu, error: NvmlError) -> None:
        if not error.dead:
            gpu.gone(error)
            return
        self._dead = True
        for each in self.gpus.values():
            each.gone(error)


def _all_gpus(pci: Path) -> dict[str, Gpu]:
    found = {}
    for index in range(api.count()):
        try:
            gpu = _gpu(api.by_index(index), pci)
        except NvmlError:
            # A board that is lost from the start has no UUID to be known by.
            continue
        found[gpu.uuid] = gpu
    return found


def _gpu(handle: Handle, pci: Path) -> Gpu:
    mig = api.mig_instances(handle)
    return Gpu(
        api.uuid(handle),
        api.name(handle),
        handle,
        None if mig is None else tuple(mig),
        _numa_node(handle, pci),
    )


def _numa_node(handle: Handle, pci: Path) -> int | None:
    """Return the socket that a GPU hangs on, as sysfs says; None where it does not say."""
    try:
        node = int((pci / api.pci_address(handle) / "numa_node").read_text())
    except (NvmlError, OSError, ValueError):
        return None
    return node if node >= 0 else None
