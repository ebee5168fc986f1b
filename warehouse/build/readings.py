"""Power readings of one node around an interval, by meter, device and scope."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from joulemark.warehouse.build.curve import Curve, counter_curve, power_curve
from joulemark.warehouse.build.segments import Run, Segment, Segments, ascending
from joulemark.warehouse.errors import Vanished
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.units import US_PER_S

MARGIN_US = 120 * US_PER_S
"""Readings this far outside an interval still bracket its edges and tell the update period."""

VALUES = ("energy_uj", "power_mw")
AVERAGING_US = {"nvml-average": US_PER_S}
"""Over how long a time each power reading of a meter is a mean; all others tell of the moment, or it is not known."""


@dataclass(frozen=True)
class Series:
    """All readings of one meter for one device and scope, ascending in time.

    Readings that are NULL, and values that were not asked for, have value 0 and no flag.
    """

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
        return bool(self.t_us[0] <= end_us and self.t_us[-1] >= start_us)

    @property
    def counter(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Instants and counter values of the readings that have one."""
        return _those(self.has_energy, self.t_us, self.energy_uj)

    @property
    def power(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Instants and power of the readings that have one."""
        return _those(self.has_power, self.t_us, self.power_mw)

    def curve(self, method: str, start_us: int, end_us: int) -> Curve:
        """Return the cumulative energy that ``counter`` or ``integral`` uses for the interval."""
        if method == "counter":
            return counter_curve(*self.counter, start_us, end_us)[0]
        return power_curve(*self.power, self.averaging_us)

    @property
    def averaging_us(self) -> int:
        """Over how long a time each power reading is a mean."""
        return AVERAGING_US.get(self.meter, 0)


Columns = list[NDArray[Any]]
Piece = tuple[Run, Columns]


@dataclass
class PowerReader:
    """Reads power traces by node and time; decodes a segment once for trials that follow each other on a node.

    ``files`` are the readable segments, as names relative to the warehouse.
    """

    warehouse: Warehouse
    files: tuple[str, ...]
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    """First and last instant [us] of segments, where they are known already."""
    warnings: list[str] = field(default_factory=list)

    def read(
        self,
        node: str,
        start_us: int,
        end_us: int,
        *,
        devices: Collection[str] | None = None,
        values: Sequence[str] = VALUES,
    ) -> list[Series]:
        """Return the node's series that have readings in the interval or on both sides of it.

        Only of these ``devices`` (default: all), and only with these ``values``.
        """
        low, high = start_us - MARGIN_US, end_us + MARGIN_US
        found: defaultdict[tuple[str, str, str], list[Piece]] = defaultdict(list)
        for name in self._segments(node, low, high):
            for run, piece in self._pieces(name, low, high, devices, values):
                found[run.words[:3]].append((run, piece))
        series = (_series(found[key]) for key in sorted(found))
        return [s for s in series if s.touches(start_us, end_us)]

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

    def _pieces(
        self, name: str, low: int, high: int, devices: Collection[str] | None, values: Sequence[str]
    ) -> list[Piece]:
        """Return the part of each run of a segment that lies in the interval; none of one that cannot be read."""
        try:
            segment = self._decoded.get(name, values)
            runs = [r for r in segment.runs if devices is None or r.words.device in devices]
            return [(run, piece) for run in runs if len((piece := _cut(segment, run, low, high, values))[0])]
        except FileNotFoundError as error:
            raise Vanished(f"{name} is gone") from error
        except (OSError, pa.ArrowException) as error:
            self.warnings.append(f"{name}: skipped, cannot be read: {_first_line(error)}")
            self._good.discard(name)
            return []

    @cached_property
    def _decoded(self) -> Segments:
        return Segments(self.warehouse)


def _footer_span(metadata: pq.FileMetaData) -> tuple[int, int]:
    index = metadata.schema.to_arrow_schema().get_field_index("t")
    groups = [metadata.row_group(i).column(index).statistics for i in range(metadata.num_row_groups)]
    if not groups:
        return 1, 0
    if not all(s is not None and s.has_min_max for s in groups):
        return -(1 << 62), 1 << 62
    return min(s.min_raw for s in groups), max(s.max_raw for s in groups)


def _cut(segment: Segment, run: Run, low: int, high: int, values: Sequence[str]) -> Columns:
    """Return instants of the run that lie in the interval, then flags and values for each of ``VALUES``."""
    t_us = segment.t_us[run.begin : run.end]
    if not run.ascending:
        rows = run.begin + np.flatnonzero((t_us >= low) & (t_us <= high))
        places: slice | NDArray[np.int64] = rows[np.argsort(segment.t_us[rows], kind="stable")]
    else:
        first, last = np.searchsorted(t_us, [low, high + 1])
        places = slice(run.begin + int(first), run.begin + int(last))
    columns: Columns = [segment.t_us[places]]
    for name in VALUES:
        numbers, there = segment.values(name) if name in values else _nothing(len(segment.t_us))
        columns += [there[places], numbers[places]]
    return columns


@lru_cache
def _nothing(count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    return np.broadcast_to(np.int64(0), count), np.broadcast_to(np.False_, count)


def _series(pieces: list[Piece]) -> Series:
    """Return the pieces as one series, of several readings of one instant the first."""
    run, columns = pieces[0]
    if len(pieces) > 1:
        columns = [np.concatenate(c) for c in zip(*(c for _, c in pieces), strict=True)]
    if not run.ascending or (len(pieces) > 1 and not ascending(columns[0])):
        _, order = np.unique(columns[0], return_index=True)
        columns = [c[order] for c in columns]
    t_us, has_energy, energy_uj, has_power, power_mw = columns
    return Series(*run.words, t_us, power_mw, has_power, energy_uj, has_energy)


def _those(
    there: NDArray[np.bool_], t_us: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # One flag that stands for all rows takes one look.
    flags = there[:1] if there.strides == (0,) else there
    return (t_us, values) if flags.all() else (t_us[there], values[there])


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
