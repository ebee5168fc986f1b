"""Segments of power readings, decoded once each and cut where meter, device or scope change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from joulemark.warehouse.store.location import Warehouse

HELD_BYTES = 128 << 20
"""Decoded segments that are held at a time: trials that follow each other on a node read the same."""

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Words(NamedTuple):
    """What a reading is of."""

    meter: str
    device: str
    scope: str
    fidelity: str


@dataclass(frozen=True)
class Run:
    """Rows ``begin`` to ``end`` of a segment, with the same words.

    ``ascending`` says whether each was taken after the one before.
    """

    words: Words
    begin: int
    end: int
    ascending: bool


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
            self.keep(column, self.read_column(column))
        return self._values[column]

    def keep(self, column: str, read: pa.ChunkedArray) -> None:
        """Hold a column that was read."""
        there = np.broadcast_to(np.True_, len(read)) if not read.null_count else pc.is_valid(read).to_numpy()
        numbers = (pc.fill_null(read, 0) if read.null_count else read).to_numpy()
        self._values[column] = np.asarray(numbers, dtype=np.int64), there

    @property
    def held_bytes(self) -> int:
        """About what it holds."""
        return int(self.t_us.nbytes + sum(v.nbytes + len(v) for v, _ in self._values.values()))


def decode(warehouse: Warehouse, name: str, values: Sequence[str] = ()) -> Segment:
    """Read a segment, with these columns of values. Raises OSError or ArrowException where it cannot be read."""
    with warehouse.filesystem.open_input_file(warehouse.path(name)) as source:
        file = pq.ParquetFile(source, read_dictionary=list(Words._fields))
        metadata = file.metadata
        same = _same_everywhere(metadata)
        words = [w for w in Words._fields if w not in same]
        table = file.read(columns=[*words, "t", *values], use_threads=False)

    def read(column: str) -> pa.ChunkedArray:
        with warehouse.filesystem.open_input_file(warehouse.path(name)) as source:
            return pq.ParquetFile(source, metadata=metadata).read(columns=[column], use_threads=False)[column]

    t_us = np.asarray(table["t"].cast(pa.int64()).to_numpy(), dtype=np.int64)
    segment = Segment(tuple(_runs(table.select(words), same, t_us)), t_us, read)
    for column in values:
        segment.keep(column, table[column])
    return segment


def _same_everywhere(metadata: pq.FileMetaData) -> dict[str, str]:
    """Return the words that are the same in all rows, as the footer says: these columns need not be decoded."""
    names = metadata.schema.to_arrow_schema().names
    found = {}
    for word in Words._fields:
        index = names.index(word)
        groups = [metadata.row_group(i).column(index).statistics for i in range(metadata.num_row_groups)]
        values = {v for s in groups if s is not None and s.has_min_max and not s.null_count for v in (s.min, s.max)}
        if len(values) == 1 and all(s is not None and s.has_min_max and not s.null_count for s in groups):
            found[word] = values.pop()
    return found


@dataclass
class Segments:
    """The segments of a warehouse, of which those that were asked for last are held."""

    warehouse: Warehouse
    _held: OrderedDict[str, Segment] = field(default_factory=OrderedDict)

    def get(self, name: str, values: Sequence[str]) -> Segment:
        """Return a segment, of which these columns of values are asked for. Raises as ``decode`` does."""
        if name not in self._held:
            while self._held and sum(s.held_bytes for s in self._held.values()) > HELD_BYTES:
                self._held.popitem(last=False)
            self._held[name] = decode(self.warehouse, name, values)
        self._held.move_to_end(name)
        return self._held[name]


def ascending(t_us: Numbers) -> bool:
    """Return whether each instant is after the one before."""
    return bool((t_us[1:] > t_us[:-1]).all())


def _runs(words: pa.Table, same: Mapping[str, str], t_us: Numbers) -> Iterator[Run]:
    """Yield the stretches of rows with the same words; rows that are not sorted make many."""
    if not len(t_us):
        return
    starts = list(_stretches(words, same)) if words.num_columns else [(0, Words(**same))]
    starts = [s for i, s in enumerate(starts) if not i or s[1] != starts[i - 1][1]]
    for (begin, these), end in zip(starts, [*(at for at, _ in starts[1:]), len(t_us)], strict=True):
        yield Run(these, begin, end, ascending(t_us[begin:end]))


def _stretches(words: pa.Table, same: Mapping[str, str]) -> Iterator[tuple[int, Words]]:
    """Yield where other words begin, and which; every batch of rows begins anew."""
    at = 0
    for batch in words.to_batches():
        indices = [column.indices.to_numpy() for column in batch.columns]
        new = np.zeros(len(batch), dtype=np.bool_)
        new[0] = True
        for column in indices:
            new[1:] |= column[1:] != column[:-1]
        names = [column.dictionary.to_pylist() for column in batch.columns]
        for row in np.flatnonzero(new).tolist():
            own = {w: n[i[row]] for w, n, i in zip(words.column_names, names, indices, strict=True)}
            yield at + row, Words(**same, **own)
        at += len(batch)
