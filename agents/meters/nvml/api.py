"""NVML as this project uses it: the one file that knows the library.

Every function raises NvmlError, whose text says what happened in the words of a record's ``reason``. Handles belong
to one opening of the library; after ``reopen`` they must be looked up anew, by UUID.
"""

from __future__ import annotations

import contextlib
import functools
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import pynvml

from joulemark.warehouse.errors import MeterError

P = ParamSpec("P")
T = TypeVar("T")
Handle = Any
Field = tuple[int, int]
"""Id and scope of a field value."""

ENERGY: Field = (pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, 0)
"""Millijoules since the driver was loaded."""
INSTANT, AVERAGE = pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_POWER_AVERAGE
"""Milliwatts now, and as the mean over 1 s."""
MEMORY_TEMPERATURE: Field = (pynvml.NVML_FI_DEV_MEMORY_TEMP, 0)
SCOPE_GPU, SCOPE_MODULE, SCOPE_MEMORY = (
    pynvml.NVML_POWER_SCOPE_GPU,
    pynvml.NVML_POWER_SCOPE_MODULE,
    pynvml.NVML_POWER_SCOPE_MEMORY,
)
GPM_SM, GPM_TENSOR, GPM_DRAM = (
    pynvml.NVML_GPM_METRIC_SM_UTIL,
    pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
    pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
)

DEAD = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)
"""Errors after which the library must be opened anew."""
GONE = DEAD | {
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
    pynvml.NVML_ERROR_NOT_FOUND,
}
"""Errors after which a handle is worth nothing."""
ABSENT = frozenset(
    {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_NO_PERMISSION,
    }
)
"""Errors of a machine without NVIDIA GPUs for this user."""

_VALUES = struct.Struct("=IIqqIIQ")
"""One nvmlFieldValue_t: field, scope, timestamp, latency, type, result, value. Unpacking a whole answer this way
costs a quarter of reading it through ctypes."""
_DOUBLE, _UNSIGNED_INT, _SIGNED_LONG_LONG, _SIGNED_INT, _UNSIGNED_SHORT = (
    pynvml.NVML_VALUE_TYPE_DOUBLE,
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT,
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG,
    pynvml.NVML_VALUE_TYPE_SIGNED_INT,
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT,
)


class NvmlError(MeterError):
    """A call that failed. ``code`` is NVML's; ``gone``, ``dead`` and ``unsupported`` say what that means."""

    def __init__(self, code: int) -> None:
        super().__init__(f"nvml: {pynvml.NVMLError(code)}")
        self.code = code

    def __reduce__(self) -> tuple[type[NvmlError], tuple[int]]:
        """Keep the code when the error is pickled."""
        return type(self), (self.code,)

    @property
    def gone(self) -> bool:
        """Whether the handle is worth nothing any more."""
        return self.code in GONE

    @property
    def dead(self) -> bool:
        """Whether the library must be opened anew."""
        return self.code in DEAD

    @property
    def absent(self) -> bool:
        """Whether this machine has no NVIDIA GPUs for this user."""
        return self.code in ABSENT

    @property
    def forbidden(self) -> bool:
        """Whether this user may not do that."""
        return bool(self.code == pynvml.NVML_ERROR_NO_PERMISSION)


def _translated(call: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(call)
    def translated(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except pynvml.NVMLError as error:
            raise NvmlError(error.value) from error

    return translated


@dataclass
class FieldRead:
    """Several field values of one device in one call, as often as wanted."""

    fields: Sequence[Field]

    def __post_init__(self) -> None:
        """Make the room for the answer once."""
        self._values = (pynvml.c_nvmlFieldValue_t * len(self.fields))()
        for value, (number, scope) in zip(self._values, self.fields, strict=True):
            value.fieldId, value.scopeId = number, scope
        self._bytes = memoryview(self._values).cast("B")
        self._call: Any = None

    def read(self, handle: Handle) -> list[int | NvmlError]:
        """Return each field's value, or the error that stands for it."""
        if self._call is None:
            self._call = _function("nvmlDeviceGetFieldValues")
        code = self._call(handle, len(self.fields), self._values)
        if code:
            raise NvmlError(code)
        return [
            NvmlError(result) if result else value if kind not in _NARROW else _narrow(kind, value)
            for _, _, _, _, kind, result, value in _VALUES.iter_unpack(self._bytes)
        ]


_NARROW = {_DOUBLE: "d", _UNSIGNED_INT: "I", _SIGNED_LONG_LONG: "q", _SIGNED_INT: "i", _UNSIGNED_SHORT: "H"}


def _narrow(kind: int, value: int) -> int:
    """Return what the type says of the eight bytes; what lies beyond a narrow type is not set by the driver."""
    if kind == _UNSIGNED_INT:
        return value & 0xFFFFFFFF
    number: float = struct.unpack_from(_NARROW[kind], struct.pack("Q", value))[0]
    return round(number)


@_translated
def _function(name: str) -> Any:
    if pynvml.nvmlLib is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
    try:
        return getattr(pynvml.nvmlLib, name)
    except AttributeError:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND) from None


@dataclass
class _Use:
    """How often the library is open in this process."""

    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


_USE = _Use()


@_translated
def open_library() -> None:
    """Load the library and initialise it, once for all users in this process; each call needs a ``close_library``."""
    with _USE.lock:
        if not _USE.users:
            pynvml.nvmlInit()
        _USE.users += 1


def close_library() -> None:
    """Undo one ``open_library``."""
    with _USE.lock:
        _USE.users -= 1
        if not _USE.users:
            _shut_down()


@_translated
def reopen() -> None:
    """Begin anew after the driver was unloaded: handles of before are worth nothing, for all users."""
    with _USE.lock:
        _shut_down()
        pynvml.nvmlInit()


def _shut_down() -> None:
    # An end without a beginning is an error in some versions of the library and none in others.
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlShutdown()


@_translated
def driver_version() -> str:
    """Return the driver's version."""
    return str(pynvml.nvmlSystemGetDriverVersion())


@_translated
def count() -> int:
    """Return the number of GPUs."""
    return int(pynvml.nvmlDeviceGetCount())


@_translated
def by_index(index: int) -> Handle:
    """Return the handle of a GPU."""
    return pynvml.nvmlDeviceGetHandleByIndex(index)


@_translated
def by_uuid(uuid: str) -> Handle:
    """Return the handle of a GPU."""
    return pynvml.nvmlDeviceGetHandleByUUID(uuid)


@_translated
def uuid(handle: Handle) -> str:
    """Return the UUID of a GPU or MIG instance."""
    return str(pynvml.nvmlDeviceGetUUID(handle))


@_translated
def name(handle: Handle) -> str:
    """Return the product name."""
    return str(pynvml.nvmlDeviceGetName(handle))


@_translated
def pci_address(handle: Handle) -> str:
    """Return the PCI address as sysfs writes it, for example ``0009:01:00.0``."""
    address = str(pynvml.nvmlDeviceGetPciInfo(handle).busId).lower()
    domain, _, rest = address.partition(":")
    return f"{domain[-4:]}:{rest}"


def mig_instances(handle: Handle) -> list[str] | None:
    """Return the UUIDs of the board's MIG instances; None where MIG is off or unknown to the card."""
    try:
        if not pynvml.nvmlDeviceGetMigMode(handle)[0]:
            return None
        found = []
        for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            try:
                found.append(uuid(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)))
            except pynvml.NVMLError_NotFound:
                continue
        return found
    except pynvml.NVMLError:
        return None


@_translated
def energy_mj(handle: Handle) -> int:
    """Return the energy counter in millijoules, where field values do not have it."""
    return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))


@_translated
def power_mw(handle: Handle) -> int:
    """Return power in milliwatts: a mean over 1 s from Ampere on (not GA100), the present power before."""
    return int(pynvml.nvmlDeviceGetPowerUsage(handle))


@_translated
def sm_mhz(handle: Handle) -> int:
    """Return the clock of the compute units."""
    return int(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))


@_translated
def memory_mhz(handle: Handle) -> int:
    """Return the clock of the memory."""
    return int(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM))


@_translated
def temperature_c(handle: Handle) -> int:
    """Return the core temperature in degrees Celsius."""
    try:
        return int(pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU))
    except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NotSupported):
        # Drivers before 570 have the older call only.
        return int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


@_translated
def utilization(handle: Handle) -> float:
    """Return the share of time with any kernel running, 0 to 1."""
    return float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100


@_translated
def memory_used_bytes(handle: Handle) -> int:
    """Return the memory in use."""
    return int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)


@_translated
def memory_total_bytes(handle: Handle) -> int:
    """Return the memory that the board has."""
    return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)


@_translated
def throttle_reasons(handle: Handle) -> int:
    """Return NVML's bit mask of clock event reasons."""
    try:
        return int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except pynvml.NVMLError_FunctionNotFound:
        return int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))


@_translated
def processes(handle: Handle) -> list[int]:
    """Return the pids that have a compute context on the board, as this process's PID namespace sees them."""
    return [int(p.pid) for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)]


@_translated
def enforced_limit_mw(handle: Handle) -> int:
    """Return the power limit in force: the lowest of all that are set."""
    return int(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle))


@_translated
def limit_mw(handle: Handle) -> int:
    """Return the power limit that was set."""
    return int(pynvml.nvmlDeviceGetPowerManagementLimit(handle))


@_translated
def limit_range_mw(handle: Handle) -> tuple[int, int]:
    """Return the lowest and the highest power limit that the card takes."""
    low, high = pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
    return int(low), int(high)


@_translated
def set_limit_mw(handle: Handle, limit: int) -> None:
    """Set the power limit."""
    pynvml.nvmlDeviceSetPowerManagementLimit(handle, limit)


class GpmSamples:
    """Two samples of a GPU's activity counters (Hopper and newer), and what lies between them."""

    @_translated
    def __init__(self) -> None:
        self._last, self._next = pynvml.nvmlGpmSampleAlloc(), pynvml.nvmlGpmSampleAlloc()
        self._between = pynvml.c_nvmlGpmMetricsGet_t()

    @staticmethod
    @_translated
    def supported(handle: Handle) -> bool:
        """Return whether the GPU has them."""
        return bool(pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice)

    @_translated
    def take(self, handle: Handle) -> None:
        """Take a sample; the one before it becomes the beginning of the next ``shares``."""
        pynvml.nvmlGpmSampleGet(handle, self._next)
        self._last, self._next = self._next, self._last

    @_translated
    def shares(self, metrics: Sequence[int]) -> list[float | None]:
        """Return metrics between the last two samples, 0 to 1; None for what this GPU does not count."""
        wanted = self._between
        wanted.version, wanted.numMetrics = pynvml.NVML_GPM_METRICS_GET_VERSION, len(metrics)
        wanted.sample1, wanted.sample2 = self._next, self._last
        for slot, metric in zip(wanted.metrics, metrics, strict=False):
            slot.metricId = metric
        pynvml.nvmlGpmMetricsGet(wanted)
        got = [wanted.metrics[i] for i in range(len(metrics))]
        return [m.value / 100 if m.nvmlReturn == pynvml.NVML_SUCCESS else None for m in got]

    @_translated
    def free(self) -> None:
        """Give the samples back."""
        pynvml.nvmlGpmSampleFree(self._last)
        pynvml.nvmlGpmSampleFree(self._next)
