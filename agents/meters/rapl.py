"""RAPL through powercap: the energy counters of CPU packages, cores, DRAM and the platform.

Zones contain each other (psys contains packages, a package contains its cores), so every zone is a channel of its
own scope and nothing is added here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from joulemark.agents.meters.cpu_watts import CPUINFO, cpu_facts
from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.meters.register import Register, microjoules
from joulemark.warehouse.errors import MeterError

POWERCAP = Path("/sys/class/powercap")
DIE = re.compile(r"(package-\d+)-die-\d+")
ONE_PER_PACKAGE = frozenset({"AuthenticAMD", "HygonGenuine"})
"""Makers whose register is the package's, whichever die shows it: some kernels (6.9, 6.10) have a zone for each."""


@dataclass
class Zone:
    """One powercap zone."""

    channel: Channel
    path: Path
    register: Register

    def read(self) -> Reading:
        """Return the continued counter, or a reading without a value and with the reason."""
        try:
            now_uj = microjoules(self.path / "energy_uj")
        except (OSError, ValueError) as error:
            return Reading(self.channel, None, None, f"rapl: {error}")
        range_uj = self.register.range_uj
        if now_uj > range_uj:
            return Reading(self.channel, None, None, f"rapl: {now_uj} is beyond the counter's range {range_uj}")
        return Reading(self.channel, None, self.register.continued(now_uj))


@dataclass
class RaplMeter:
    """All readable zones below ``root``."""

    root: Path = POWERCAP
    name: str = "rapl"
    zones: list[Zone] = field(default_factory=list)

    @classmethod
    def found(cls, root: Path = POWERCAP, cpuinfo: Path = CPUINFO) -> RaplMeter | None:
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
        if cpu_facts(cpuinfo.read_text()).get("vendor_id") in ONE_PER_PACKAGE:
            zones = list(_once_per_package(zones))
        return cls(root, zones=zones)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """One per zone."""
        return tuple(z.channel for z in self.zones)

    def read(self) -> list[Reading]:
        """Read every zone."""
        return [z.read() for z in self.zones]

    def describe(self) -> dict[str, object]:
        """Return where the counters come from, how far they count, and the watts above which a wrap is a reset."""
        registers = {z.channel.device: z.register for z in self.zones}
        return {
            "source": str(self.root),
            "range_uj": {device: r.range_uj for device, r in registers.items()},
            "most_w": {device: r.most_w for device, r in registers.items()},
        }


def _once_per_package(zones: Iterable[Zone]) -> Iterator[Zone]:
    """Yield of each package's dies the first, under the package's name."""
    seen = set()
    for zone in zones:
        die = DIE.fullmatch(zone.channel.device)
        if die is None:
            yield zone
        elif die[1] not in seen:
            seen.add(die[1])
            yield replace(zone, channel=replace(zone.channel, device=die[1]))


def _zone(path: Path) -> Zone:
    try:
        name, register = (path / "name").read_text().strip(), Register.of(path)
    except (OSError, ValueError) as error:
        raise MeterError(f"{path} is no powercap zone that can be read: {error}") from error
    package = name.startswith("package")
    scope = "cpu_package" if package else {"core": "cpu_core", "dram": "dram", "psys": "platform"}.get(name, name)
    device = (
        name if package or name == "psys" else f"{path.name.rsplit(':', 1)[0].replace('intel-rapl', 'rapl')}:{name}"
    )
    return Zone(Channel(device, scope, "counter"), path, register)
