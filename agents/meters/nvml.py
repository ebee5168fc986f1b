"""NVIDIA GPUs through NVML: total energy counter and instant power of every board, by UUID."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pynvml

from joulemark.agents.meters.meter import Channel, Reading

FIELD_ENERGY = 83  # NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, millijoules
FIELD_POWER_INSTANT = 186  # NVML_FI_DEV_POWER_INSTANT, milliwatts
UJ_PER_MJ = 1_000


@dataclass
class NvmlMeter:
    """All GPUs of the node: one call per device gives counter and instant power together."""

    handles: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    driver: str = ""
    name: str = "nvml"

    @classmethod
    def found(cls) -> NvmlMeter | None:
        """Return the meter, or None where there is no NVIDIA driver or no GPU."""
        try:
            pynvml.nvmlInit()
        except (
            pynvml.NVMLError_LibraryNotFound,
            pynvml.NVMLError_DriverNotLoaded,
            pynvml.NVMLError_NoPermission,
        ):
            return None
        meter = cls(driver=_text(pynvml.nvmlSystemGetDriverVersion()))
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
            meter.handles[uuid] = handle
            meter.names[uuid] = _text(pynvml.nvmlDeviceGetName(handle))
        return meter if meter.handles else None

    @property
    def channels(self) -> tuple[Channel, ...]:
        """One per board."""
        return tuple(Channel(uuid, "gpu_board", "counter") for uuid in self.handles)

    def read(self) -> list[Reading]:
        """Read every board."""
        return [_read(Channel(uuid, "gpu_board", "counter"), handle) for uuid, handle in self.handles.items()]

    def describe(self) -> dict[str, object]:
        """Return the driver and the names of the boards."""
        return {"source": "NVML", "driver": self.driver, "boards": self.names}


def _read(channel: Channel, handle: Any) -> Reading:
    try:
        energy, power = pynvml.nvmlDeviceGetFieldValues(handle, [FIELD_ENERGY, FIELD_POWER_INSTANT])
    except pynvml.NVMLError as error:
        return Reading(channel, None, None, f"nvml: {error}")
    energy_uj = int(energy.value.ullVal) * UJ_PER_MJ if energy.nvmlReturn == pynvml.NVML_SUCCESS else None
    power_mw = int(power.value.uiVal) if power.nvmlReturn == pynvml.NVML_SUCCESS else _plain_power_mw(handle)
    if energy_uj is None and power_mw is None:
        return Reading(channel, None, None, f"nvml: {pynvml.nvmlErrorString(energy.nvmlReturn)}")
    return Reading(channel, power_mw, energy_uj)


def _plain_power_mw(handle: Any) -> int | None:
    """Return the power reading of boards that have no instant field."""
    try:
        return int(pynvml.nvmlDeviceGetPowerUsage(handle))
    except pynvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
