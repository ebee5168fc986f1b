"""Power readings of one node around an interval, by meter, device and scope."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from joulemark.warehouse.build.curve import Curve, counter_curve, power_curve
from joulemark.warehouse.errors import Vanished
from joulemark.warehouse.schema.columns import INSTANT
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.units import US_PER_S

MARGIN_US = 120 * US_PER_S
"""Readings this far outside an interval still bracket its edges and tell the update period."""

KEYS = ("meter", "device", "scope")
AVERAGING_US = {"nvml-average": US_PER_S}
"""Over how long a time each power reading of a meter is a mean; all others tell of the moment, or it is not known."""


@dataclass(frozen=True)
class Series:
    """All readings of one meter for one device and scope, ascending in time, NULL readings with value 0 and no flag."""

    meter: str
    device: str
    scope: str
    fidelity: str
    t_us: NDArray[np.int64]
    power_mw: NDArray[np.int64]
    has_power: NDArray[np.bool_]
    energy_uj: NDArray[np.int64]
    has_energy: NDArray[np.bool_]

    def touches(self, start_us: int, end_us: int) -> bool:
        """Return whether there are readings in the interval, or on both sides of it."""
        inside = bool(((self.t_us >= start_us) & (self.t_us <= end_us)).any())
        return inside or bool(self.t_us[0] < start_us and self.t_us[-1] > end_us)

    @property
    def counter(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Instants and counter values of the readings that have one."""
        return self.t_us[self.has_energy], self.energy_uj[self.has_energy]

    @property
    def power(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Instants and power of the readings that have one."""
        return self.t_us[self.has_power], self.power_mw[self.has_power]

    def curve(self, method: str, start_us: int, end_us: int) -> Curve:
        """Return the cumulative energy that ``counter`` or ``integral`` uses for the interval."""
        if method == "counter":
            return counter_curve(*self.counter, start_us, end_us)[0]
        return power_curve(*self.power, self.averaging_us)

    @property
    def averaging_us(self) -> int:
        """Over how long a time each power reading is a mean."""
        return AVERAGING_US.get(self.meter, 0)


@dataclass
class PowerReader:
    """Reads power traces by node and time; opens each segment's footer once.

    ``files`` are the readable segments, as names relative to the warehouse.
    """

    warehouse: Warehouse
    files: tuple[str, ...]
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    """First and last instant [us] of segments, where they are known already."""
    warnings: list[str] = field(default_factory=list)

    def read(self, node: str, start_us: int, end_us: int) -> list[Series]:
        """Return the node's series that have readings in the interval or on both sides of it."""
        low, high = start_us - MARGIN_US, end_us + MARGIN_US
        tables = [t for name in self._segments(node, low, high) if (t := self._rows(name, low, high)) is not None]
        if not tables:
            return []
        table = pa.concat_tables(tables)
        keys = table.select(KEYS).group_by(list(KEYS)).aggregate([]).sort_by([(k, "ascending") for k in KEYS])
        found = [_series(table, key) for key in keys.to_pylist()]
        return [s for s in found if s.touches(start_us, end_us)]

    def _segments(self, node: str, low: int, high: int) -> list[str]:
        names = self._by_node.get(node, ())
        return [n for n in names if n in self._good and self._span(n)[0] <= high and self._span(n)[1] >= low]

    @cached_property
    def _by_node(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.files:
            found.setdefault(name.split("/")[1], []).append(name)
        return found

    @cached_property
    def _good(self) -> set[str]:
        return set(self.files)

    def _span(self, name: str) -> tuple[int, int]:
        """Return first and last instant of a segment, from its footer; everything where that does not say."""
        if name not in self.spans:
            try:
                with self.warehouse.filesystem.open_input_file(self.warehouse.path(name)) as source:
                    self.spans[name] = _footer_span(pq.ParquetFile(source).metadata)
            except FileNotFoundError as error:
                raise Vanished(f"{name} is gone") from error
        return self.spans[name]

    def _rows(self, name: str, low: int, high: int) -> pa.Table | None:
        bounds = [pa.scalar(v, pa.int64()).cast(INSTANT) for v in (low, high)]
        try:
            return pq.read_table(
                self.warehouse.path(name),
                filesystem=self.warehouse.filesystem,
                columns=[*KEYS, "fidelity", "t", "power_mw", "energy_uj"],
                filters=(pc.field("t") >= bounds[0]) & (pc.field("t") <= bounds[1]),
            )
        except FileNotFoundError as error:
            raise Vanished(f"{name} is gone") from error
        except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
            self.warnings.append(f"{name}: skipped, cannot be read: {_first_line(error)}")
            self._good.discard(name)
            return None


def _footer_span(metadata: pq.FileMetaData) -> tuple[int, int]:
    index = metadata.schema.to_arrow_schema().get_field_index("t")
    groups = [metadata.row_group(i).column(index).statistics for i in range(metadata.num_row_groups)]
    if not groups:
        return 1, 0
    if not all(s is not None and s.has_min_max for s in groups):
        return -(1 << 62), 1 << 62
    return min(s.min_raw for s in groups), max(s.max_raw for s in groups)


def _series(table: pa.Table, key: dict[str, str]) -> Series:
    mask = pc.and_(
        pc.and_(pc.equal(table["meter"], key["meter"]), pc.equal(table["device"], key["device"])),
        pc.equal(table["scope"], key["scope"]),
    )
    rows = table.filter(mask)
    t_us, order = np.unique(_ints(rows["t"].cast(pa.int64())), return_index=True)
    return Series(
        **key,
        fidelity=rows["fidelity"][0].as_py(),
        t_us=t_us,
        power_mw=_ints(rows["power_mw"])[order],
        has_power=_valid(rows["power_mw"])[order],
        energy_uj=_ints(rows["energy_uj"])[order],
        has_energy=_valid(rows["energy_uj"])[order],
    )


def _ints(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(pc.fill_null(column, 0).to_numpy(), dtype=np.int64)


def _valid(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(pc.is_valid(column).to_numpy(), dtype=np.bool_)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
