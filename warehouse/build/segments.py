"""Segments of power readings, decoded once each and cut where meter, device or scope change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from joulemark.warehouse.store.location import Warehouse

KEYS = ("meter", "device", "scope")
WORDS = (*KEYS, "fidelity")
HELD_BYTES = 128 << 20
"""Decoded segments that are held at a time: trials that follow each other on a node read the same."""

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Run:
    """Rows ``begin`` to ``end`` of a segment: readings of one meter for one device and scope."""

    meter: str
    device: str
    scope: str
    fidelity: str
    begin: int
    end: int


@dataclass
class Segment:
    """One file. Instants and words are decoded at once, each column of values when it is first asked for."""

    runs: tuple[Run, ...]
    t_us: Numbers
    read_column: Callable[[str], pa.ChunkedArray]
    _values: dict[str, tuple[Numbers, Flags]] = field(default_factory=dict)

    def values(self, column: str) -> tuple[Numbers, Flags]:
        """Return the column's values, 0 where there is none, and whether there is one."""
        if column not in self._values:
            read = self.read_column(column)
            there = np.broadcast_to(True, len(read)) if not read.null_count else pc.is_valid(read).to_numpy()
            numbers = (pc.fill_null(read, 0) if read.null_count else read).to_numpy()
            self._values[column] = np.asarray(numbers, dtype=np.int64), there
        return self._values[column]

    @property
    def held_bytes(self) -> int:
        """About what it holds."""
        return int(self.t_us.nbytes + sum(v.nbytes + len(v) for v, _ in self._values.values()))


def decode(warehouse: Warehouse, name: str) -> Segment:
    """Read a segment. Raises OSError or ArrowException where it cannot be read."""

    def column(name_of: str) -> pa.ChunkedArray:
        return _read(warehouse, name, [name_of])[name_of]

    table = _read(warehouse, name, [*WORDS, "t"])
    t_us = np.asarray(table["t"].cast(pa.int64()).to_numpy(), dtype=np.int64)
    return Segment(tuple(_runs(table)), t_us, column)


@dataclass
class Segments:
    """The segments of a warehouse, of which those that were asked for last are held."""

    warehouse: Warehouse
    _held: OrderedDict[str, Segment] = field(default_factory=OrderedDict)

    def __getitem__(self, name: str) -> Segment:
        """Return a segment. Raises as ``decode`` does."""
        if name not in self._held:
            while self._held and sum(s.held_bytes for s in self._held.values()) > HELD_BYTES:
                self._held.popitem(last=False)
            self._held[name] = decode(self.warehouse, name)
        self._held.move_to_end(name)
        return self._held[name]


def _read(warehouse: Warehouse, name: str, columns: Sequence[str]) -> pa.Table:
    with warehouse.filesystem.open_input_file(warehouse.path(name)) as source:
        file = pq.ParquetFile(source, read_dictionary=[c for c in columns if c in WORDS])
        return file.read(columns=list(columns), use_threads=False)


def _runs(table: pa.Table) -> list[Run]:
    """Return the stretches of rows with the same words; rows that are not sorted make many."""
    if not table.num_rows:
        return []
    words = table.select(WORDS).unify_dictionaries()
    indices = [_indices(words[c]) for c in WORDS]
    new = np.zeros(table.num_rows, dtype=np.bool_)
    new[0] = True
    for column in indices:
        new[1:] |= column[1:] != column[:-1]
    begins = np.flatnonzero(new)
    ends = [*begins[1:].tolist(), table.num_rows]
    names = [words[c].chunk(0).dictionary.to_pylist() for c in WORDS]
    at_begin = ([n[i] for i in column[begins]] for n, column in zip(names, indices, strict=True))
    return [Run(*columns) for columns in zip(*at_begin, begins.tolist(), ends, strict=True)]


def _indices(column: pa.ChunkedArray) -> NDArray[np.int32]:
    return np.concatenate([c.indices.to_numpy() for c in column.chunks])
