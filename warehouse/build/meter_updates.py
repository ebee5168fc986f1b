"""How often meters show something new, as measured when their node's agent started."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.units import US_PER_S

COLUMNS = ("node", "t", "meters")


class _Timing(msgspec.Struct):
    energy_s: dict[str, float] = {}


class _Meter(msgspec.Struct):
    timing: _Timing | None = None


@dataclass(frozen=True)
class MeterUpdates:
    """Update periods of energy counters by node: when they were measured, and microseconds by meter and scope."""

    measured: dict[str, list[tuple[int, dict[tuple[str, str], float]]]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, warehouse: Warehouse, files: tuple[str, ...]) -> MeterUpdates:
        """Read the dataset `nodes`; a file that cannot be read is named in ``warnings`` and left out."""
        measured: dict[str, list[tuple[int, dict[tuple[str, str], float]]]] = {}
        warnings = []
        for name in files:
            try:
                table = pq.read_table(warehouse.path(name), filesystem=warehouse.filesystem, columns=list(COLUMNS))
                rows = zip(
                    table["node"].to_pylist(),
                    pc.cast(table["t"], pa.int64()).to_pylist(),
                    [_periods_us(meters) for meters in table["meters"].to_pylist()],
                    strict=True,
                )
                for node, t_us, periods_us in rows:
                    measured.setdefault(node, []).append((t_us, periods_us))
            except (OSError, pa.ArrowException, msgspec.MsgspecError) as error:
                warnings.append(f"{name}: skipped, cannot be read: {str(error).splitlines()[0]}")
        return cls(measured, tuple(warnings))

    def energy_us(self, node: str, meter: str, scope: str, at_us: int) -> float | None:
        """Return the update period of a counter as it was measured nearest to an instant; None where it was not."""
        measured = self.measured.get(node)
        return min(measured, key=lambda m: abs(m[0] - at_us))[1].get((meter, scope)) if measured else None


def _periods_us(meters: str) -> dict[tuple[str, str], float]:
    described = msgspec.json.decode(meters, type=dict[str, _Meter])
    return {
        (name, scope): period_s * US_PER_S
        for name, meter in described.items()
        if meter.timing is not None
        for scope, period_s in meter.timing.energy_s.items()
    }
