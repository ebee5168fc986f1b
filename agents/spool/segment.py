"""Segments: append-only Arrow IPC streams that can be read up to the last whole batch wherever they were cut."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from joulemark.warehouse.errors import DiskFull
from joulemark.warehouse.schema.columns import Dataset

OPEN = ".open"
CLOSED = ".arrows"
DRAFT = ".new"
BATCH_S = 0.9
"""A crash loses at most the rows of this long, so with the write itself less than those of a second."""


@dataclass
class SegmentWriter:
    """Rows of one dataset into one segment after the other below ``folder``.

    A segment's name ends in the number of rows that the writer wrote before it. Raises DiskFull where a batch cannot
    be written.
    """

    dataset: Dataset
    folder: Path
    prefix: str
    written: int = 0
    _rows: list[Mapping[str, Any]] = field(default_factory=list)
    _file: BinaryIO | None = None
    _stream: Any = None
    _path: Path | None = None
    _drafted: bool = False
    _flush_at: float = 0.0

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row; instants are microseconds since the epoch."""
        self._rows.append(row)
        if time.monotonic() >= self._flush_at:
            self.flush()

    def flush(self) -> None:
        """Write what was taken so far as one batch."""
        self._flush_at = time.monotonic() + BATCH_S
        if not self._rows:
            return
        self.write(pa.RecordBatch.from_pylist(self._rows, schema=self.dataset.arrow))
        self._rows = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Write one batch; once this returns, a kill of this process does not lose it."""
        try:
            self._open(batch.schema).write_batch(batch)
            assert self._file is not None
            assert self._path is not None
            self._file.flush()
            if self._drafted:
                # Only now: a segment that can be seen has a head and a batch.
                os.replace(self._path.with_suffix(DRAFT), self._path)
                self._drafted = False
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"no space left to write {self._path}; free some and run again") from error
            raise
        self.written += batch.num_rows

    def rotate(self) -> Path | None:
        """Close the segment and return it; None where it holds nothing. The next row opens a new one."""
        self.flush()
        if self._path is None:
            return None
        self._stream.close()
        assert self._file is not None
        self._file.close()
        closed = self._path.with_suffix(CLOSED)
        os.replace(self._path, closed)
        self._file = self._stream = self._path = None
        return closed

    def _open(self, schema: pa.Schema) -> Any:
        if self._stream is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._path = self.folder / f"{self.prefix}-{self.written:012d}{OPEN}"
            self._file = self._path.with_suffix(DRAFT).open("wb")
            self._drafted = True
            self._stream = pa.ipc.new_stream(self._file, schema, options=_options())
        return self._stream


def _options() -> pa.ipc.IpcWriteOptions:
    # The columns repeat: compressed, an hour of 8 devices takes a tenth of the space.
    return pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


def warm_up(batch: pa.RecordBatch) -> None:
    """Write a batch to nowhere: the first write of a process loads half of Arrow, which takes many milliseconds."""
    with pa.ipc.new_stream(pa.BufferOutputStream(), batch.schema, options=_options()) as stream:
        stream.write_batch(batch)


def read_segment(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return all whole batches of a segment, also of one that was cut; raise ValueError where its head is missing.

    ``columns`` are those to keep, where not all are wanted.
    """
    batches = []
    with path.open("rb") as file:
        try:
            stream = pa.ipc.open_stream(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path}: not a segment: {error}") from error
        schema = stream.schema if columns is None else pa.schema([stream.schema.field(c) for c in columns])
        while True:
            try:
                batch = stream.read_next_batch()
                batches.append(batch if columns is None else batch.select(list(columns)))
            except StopIteration:
                break
            except (pa.ArrowInvalid, OSError):
                # Cut in the middle of a batch: all before it is whole.
                break
    return _decoded(pa.Table.from_batches(batches, schema=schema))


def _decoded(table: pa.Table) -> pa.Table:
    """Return the table with the texts themselves where a segment has numbers for them."""
    fields = [
        pa.field(f.name, f.type.value_type, f.nullable) if pa.types.is_dictionary(f.type) else f for f in table.schema
    ]
    return table.cast(pa.schema(fields, table.schema.metadata))
