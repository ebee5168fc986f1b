"""The watts of the progress line: what all meters say now, added up over scopes that do not contain each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from joulemark.agents.meters.meter import Channel, Reading
from joulemark.warehouse.units import MW_PER_W

SCOPES = frozenset({"gpu_board", "gpu_module", "cpu_package", "cpu_process"})


@dataclass
class Watts:
    """Power as read, or for meters that only count energy its mean since the last call."""

    _last: dict[Channel, tuple[int, int]] = field(default_factory=dict)

    def total(self, seen: Iterable[tuple[int, Reading]]) -> float | None:
        """Return watts from (instant in microseconds, reading) pairs, one per channel; None where none is known."""
        known = [w for instant_us, reading in seen if (w := self._watts(instant_us, reading)) is not None]
        return sum(known) if known else None

    def _watts(self, instant_us: int, reading: Reading) -> float | None:
        if reading.channel.scope not in SCOPES:
            return None
        if reading.power_mw is not None:
            return reading.power_mw / MW_PER_W
        if reading.energy_uj is None:
            return None
        last, self._last[reading.channel] = self._last.get(reading.channel), (instant_us, reading.energy_uj)
        if last is None or instant_us <= last[0] or reading.energy_uj < last[1]:
            return None
        # Microjoules per microsecond are watts.
        return (reading.energy_uj - last[1]) / (instant_us - last[0])
