"""RAPL through powercap: the energy counters of CPU packages, cores, DRAM and the platform.

Zones contain each other (psys contains packages, a package contains its cores), so every zone is a channel of its
own scope and nothing is added here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from joulemark.agents.meters.meter import Channel, Reading
from joulemark.warehouse.errors import MeterError

POWERCAP = Path("/sys/class/powercap")
MOST_W = 5_000
"""More than any zone takes. A register that seems to have wrapped and would have needed more was reset."""
MOST_UJ = 1 << 62
"""No register counts so far, and totals beyond it do not fit where they are kept."""


@dataclass
class Zone:
    """One powercap zone; ``total_uj`` continues over the wraps of the register, and begins anew where it was reset."""

    channel: Channel
    path: Path
    range_uj: int
    last_uj: int | None = None
    last_ns: int = 0
    total_uj: int = 0

    def read(self) -> Reading:
        """Return the continued counter, or a reading without a value and with the reason."""
        now_ns = time.monotonic_ns()
        try:
            now_uj = _number(self.path / "energy_uj")
        except (OSError, ValueError) as error:
            return Reading(self.channel, None, None, f"rapl: {error}")
        if now_uj > self.range_uj:
            return Reading(self.channel, None, None, f"rapl: {now_uj} is beyond the counter's range {self.range_uj}")
        self.total_uj = self._continued(now_uj, now_ns)
        self.last_uj, self.last_ns = now_uj, now_ns
        return Reading(self.channel, None, self.total_uj)

    def _continued(self, now_uj: int, now_ns: int) -> int:
        if self.last_uj is None:
            return now_uj
        used_uj = (now_uj - self.last_uj) % (self.range_uj + 1)
        reset = now_uj < self.last_uj and used_uj * 1e3 > MOST_W * (now_ns - self.last_ns)
        # A total that falls is what `counter_reset` is recognised by.
        return now_uj if reset else self.total_uj + used_uj


@dataclass
class RaplMeter:
    """All readable zones below ``root``."""

    root: Path = POWERCAP
    name: str = "rapl"
    zones: list[Zone] = field(default_factory=list)

    @classmethod
    def found(cls, root: Path = POWERCAP) -> RaplMeter | None:
        """Return the meter, or None where the machine has no RAPL.

        Raises MeterError where it has, and the counters may not be read, or a zone is none.
        """
        if not root.is_dir():
            return None
        zones = [_zone(p) for p in sorted(root.glob("intel-rapl:*")) if (p / "energy_uj").exists()]
        if not zones:
            return None
        try:
            (zones[0].path / "energy_uj").read_text()
        except PermissionError as error:
            raise MeterError(
                f"{zones[0].path}/energy_uj may only be read by root; permit it with: "
                f"sudo chmod -R a+r {root}/intel-rapl*"
            ) from error
        return cls(root, zones=zones)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """One per zone."""
        return tuple(z.channel for z in self.zones)

    def read(self) -> list[Reading]:
        """Read every zone."""
        return [z.read() for z in self.zones]

    def describe(self) -> dict[str, object]:
        """Return where the counters come from and how far they count."""
        return {"source": str(self.root), "range_uj": {z.channel.device: z.range_uj for z in self.zones}}


def _zone(path: Path) -> Zone:
    try:
        name, range_uj = (path / "name").read_text().strip(), _number(path / "max_energy_range_uj")
    except (OSError, ValueError) as error:
        raise MeterError(f"{path} is no powercap zone that can be read: {error}") from error
    package = name.startswith("package")
    scope = "cpu_package" if package else {"core": "cpu_core", "dram": "dram", "psys": "platform"}.get(name, name)
    device = (
        name if package or name == "psys" else f"{path.name.rsplit(':', 1)[0].replace('intel-rapl', 'rapl')}:{name}"
    )
    return Zone(Channel(device, scope, "counter"), path, range_uj)


def _number(path: Path) -> int:
    """Return the microjoules in a file. Raises OSError, or ValueError where it holds no such number."""
    text = path.read_text().strip()
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < MOST_UJ):
        raise ValueError(f"{path.name} holds {text[:40]!r}, which is no number of microjoules")
    return int(text)
