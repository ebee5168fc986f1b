"""Builds the double of libnvidia-ml.so.1, says what it plays, and has processes load it.

::

    library = build(folder)                                  # raises NoCompiler
    double = Double(folder, library, devices(8, Square(100, 400, 2.0)))
    subprocess.run([...], env=os.environ | double.environment)
    double.true_energy_j(0, start_monotonic_ns, end_monotonic_ns)

``devices`` may be changed (``write``) until a process has initialised the library.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import pynvml
from truth import Constant, Load, true_energy_j

SOURCES = Path(__file__).parent
NAME = "libnvidia-ml.so.1"
DEVICES = 64


class NoCompiler(Exception):
    """There is no C compiler on this machine."""


@dataclass(frozen=True)
class Device:
    """One GPU and its sensors. Names are the words of the double's file; see config.c for their defaults.

    Times are in the double's seconds. ``missing`` names what the card does not support: energy, instant, average,
    usage, fields, gpm, limit, state. ``throttled`` holds (bit mask, from, to), ``process`` (pid, from, to).
    """

    load: Load = field(default_factory=lambda: Constant(100.0))
    uuid: str = ""
    name: str = "NVIDIA H100 80GB HBM3"
    pci: str = "0000:1B:00.0"
    shift_s: float = 0.0
    architecture: int = 9
    step_ms: tuple[float, float] = (100.0, 0.0)
    """Interval of the counter's steps, and the phase of the first."""
    refresh_ms: tuple[float, float] = (100.0, 0.0)
    """The same for power."""
    duty: float = 0.25
    """Share of the refresh interval that instant power looks at, just before the refresh."""
    average_ms: float = 1000.0
    lag_ms: float = 0.0
    gain: float = 1.0
    offset_w: float = 0.0
    base_j: float = 1000.0
    """Where the counter begins."""
    usage_is_average: int = 1
    busy_us: float = 0.0
    sleep_us: float = 0.0
    module_w: float = 0.0
    """What the rest of the superchip draws; 0: no superchip."""
    counter_of_module: int = 0
    memory_share: float = 0.0
    """Memory's share of the power; 0: memory power is not supported."""
    limits_w: tuple[float, float, float] = (200.0, 700.0, 700.0)
    """Lowest, default and highest power limit."""
    may_set_limit: int = 1
    clocks_mhz: tuple[int, int] = (1755, 2619)
    temperature_c: int = 45
    memory_c: int = 52
    """Temperature of the memory; 0: not supported."""
    utilization_percent: int = 90
    activity: tuple[float, float, float] = (0.8, 0.4, 0.6)
    """Of compute units, tensor cores and memory, 0 to 1."""
    memory_bytes: tuple[int, int] = (80 << 30, 60 << 30)
    """Total and used."""
    mig: int | None = None
    """Number of MIG instances; None: MIG is off."""
    reset_s: tuple[float, ...] = ()
    lost_s: tuple[tuple[float, ...], ...] = ()
    throttled: tuple[tuple[float, ...], ...] = ()
    process: tuple[tuple[float, ...], ...] = ()
    processes_file: Path | None = None
    """Pids, read at every call; for those that are only known later."""
    memory_file: Path | None = None
    """Bytes in use, read at every call, instead of those above."""
    lost_file: Path | None = None
    """As long as it is there, the card is off the bus."""
    missing: tuple[str, ...] = ()

    def lines(self, number: int) -> Iterator[str]:
        """Yield the device's part of the double's file."""
        yield "device"
        yield f"uuid {self.uuid or uuid(number)}"
        yield f"load {self.load.line}"
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in ("load", "uuid") or value is None or value == ():
                continue
            if one.name in ("reset_s", "lost_s", "throttled", "process"):
                yield from (f"{one.name} {_words(v)}" for v in value)
            else:
                yield f"{one.name} {_words(value)}"


def uuid(number: int) -> str:
    """Return the UUID of a device that was given none."""
    return f"GPU-{number:08d}-0000-0000-0000-000000000000"


def devices(count: int, load: Load, **more: object) -> tuple[Device, ...]:
    """Return ``count`` devices with the same load, each at another place in it."""
    return tuple(
        Device(load, pci=f"0000:{0x1B + i:02X}:00.0", shift_s=0.037 * i, **more)  # type: ignore[arg-type]
        for i in range(count)
    )


def build(folder: Path) -> Path:
    """Compile the double into ``folder`` and return the library. Raises NoCompiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompiler("no C compiler (cc, gcc or clang): install one to run what needs the NVML double")
    library = folder / NAME
    # Without a soname: a process that has loaded it still finds the driver's own library by name.
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-Wl,-Bsymbolic"]
    sources = [str(s) for s in sorted(SOURCES.glob("*.c"))]
    subprocess.run([compiler, *flags, "-o", str(library), *sources, "-lm", "-lpthread"], check=True)
    return library


@dataclass
class Double:
    """One world for the double to play. Its time begins when it is made.

    ``unloaded_s`` holds intervals (from, to) in which the driver is not loaded.
    """

    folder: Path
    library: Path
    devices: Sequence[Device]
    speed: float = 1.0
    unloaded_s: tuple[tuple[float, ...], ...] = ()
    driver: str = "570.86.15"
    epoch_ns: int = field(default_factory=time.monotonic_ns)

    def __post_init__(self) -> None:
        """Write the file that the double reads."""
        self.write()

    @property
    def path(self) -> Path:
        """The file that the double reads."""
        return self.folder / "nvml_double.txt"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which a process loads the double instead of the driver's library."""
        searched = [str(self.library.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return {
            "LD_LIBRARY_PATH": ":".join(searched),
            "NVML_DOUBLE": str(self.path),
            "NVML_DOUBLE_SPEED": repr(self.speed),
        }

    @property
    def uuids(self) -> tuple[str, ...]:
        """UUIDs of the devices in their order."""
        return tuple(d.uuid or uuid(i) for i, d in enumerate(self.devices))

    def write(self) -> None:
        """Write the file; processes read it when they initialise the library."""
        lines = [f"epoch_ns {self.epoch_ns}", f"driver {self.driver}"]
        lines += [f"unloaded_s {_words(u)}" for u in self.unloaded_s]
        for number, device in enumerate(self.devices):
            lines += device.lines(number)
        draft = self.path.with_suffix(".draft")
        draft.write_text("\n".join(lines) + "\n")
        draft.replace(self.path)

    @contextmanager
    def in_this_process(self) -> Iterator[None]:
        """Have this process use the double; begin and end all use of NVML inside.

        The search path is fixed when a process starts, so the library is put where nvidia-ml-py keeps it.
        """
        names = ("NVML_DOUBLE", "NVML_DOUBLE_SPEED")
        before = {n: os.environ.get(n) for n in names}
        os.environ.update({n: self.environment[n] for n in names})
        real, pynvml.nvmlLib = pynvml.nvmlLib, ctypes.CDLL(str(self.library))
        pynvml._nvmlGetFunctionPointer_cache.clear()
        try:
            yield
        finally:
            pynvml.nvmlLib = real
            pynvml._nvmlGetFunctionPointer_cache.clear()
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value

    def at_s(self, monotonic_ns: int) -> float:
        """Return the double's time at a ``time.monotonic_ns()`` reading."""
        return (monotonic_ns - self.epoch_ns) * 1e-9 * self.speed

    def now_s(self) -> float:
        """Return the double's time now."""
        return self.at_s(time.monotonic_ns())

    def true_energy_j(self, device: int, start_ns: int, end_ns: int) -> float:
        """Return what a device really used between two ``time.monotonic_ns()`` readings, in joules.

        The device alone, without the rest of its superchip. At a speed other than 1 this is energy over the double's
        time, as its counter shows; an integral of power over real time gives it divided by the speed.
        """
        one = self.devices[device]
        return true_energy_j(one.load, self.at_s(start_ns), self.at_s(end_ns), one.shift_s)

    def limits_mw(self) -> tuple[int, ...]:
        """Return the power limits as set by any process, 0 where none was, in milliwatts."""
        return struct.unpack_from(f"{DEVICES}I", self._state())[: len(self.devices)]

    def field_calls(self) -> tuple[int, ...]:
        """Return how often each device was asked for field values, by all processes together."""
        return struct.unpack_from(f"{DEVICES}Q", self._state(), 4 * DEVICES)[: len(self.devices)]

    def limit_sets(self) -> int:
        """Return how often a limit was set."""
        return int(struct.unpack_from("Q", self._state(), 12 * DEVICES)[0])

    def _state(self) -> bytes:
        path = self.path.with_name(self.path.name + ".state")
        return path.read_bytes() if path.exists() else bytes(16 * DEVICES)


def _words(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(_words(v) for v in value)
    return repr(value) if isinstance(value, float) else str(value)
