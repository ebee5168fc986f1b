"""Files that a workload names, by the digest of their content; and columns of numbers from them."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.nearest import suggestion

DIGEST_LENGTH = 16
UNITS_PER_S = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Units that numeric times may be in."""
_NS = 1_000_000_000


@dataclass(frozen=True)
class Tables:
    """The content of files, by digest. It travels from the driver to the node, whatever the paths there."""

    files: Mapping[str, bytes] = field(default_factory=dict)

    def content(self, digest: str) -> bytes:
        """Return the bytes, unpacked where they are gzip. Raises BadInput where they are not there."""
        if digest not in self.files:
            raise BadInput(f"the file with the digest {digest} did not come with the workload")
        data = self.files[digest]
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data

    def only(self, digests: set[str]) -> Tables:
        """Return those of ``digests`` alone."""
        return Tables({digest: data for digest, data in self.files.items() if digest in digests})

    def write(self, folder: Path) -> None:
        """Write each file below ``folder``, named by its digest."""
        folder.mkdir(parents=True, exist_ok=True)
        for digest, data in self.files.items():
            (folder / digest).write_bytes(data)

    @classmethod
    def read(cls, folder: Path) -> Tables:
        """Return what ``write`` left below ``folder``; nothing where there is no such folder."""
        return cls({path.name: path.read_bytes() for path in sorted(folder.glob("*"))})


def digest_of(data: bytes) -> str:
    """Return the name of a file by its content: 16 hex digits of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:DIGEST_LENGTH]


def read_table(data: bytes) -> pa.Table:
    """Return the table in a Parquet, JSON-lines or CSV file, told apart by how it begins. Raises BadInput."""
    # Loaded here, since only workloads with files need them.
    from pyarrow import csv, json, parquet

    try:
        if data.startswith(b"PAR1"):
            return parquet.read_table(io.BytesIO(data))
        if data.lstrip()[:1] == b"{":
            return json.read_json(io.BytesIO(data))
        return csv.read_csv(io.BytesIO(data))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(f"not a table in CSV, JSON lines or Parquet: {str(error).splitlines()[0]}") from None


def lengths_of(table: pa.Table, column: str) -> npt.NDArray[np.int64]:
    """Return a column of whole numbers of at least 0. Raises BadInput where it is missing or holds anything else."""
    values = _column(table, column)
    if not pa.types.is_integer(values.type) and not pa.types.is_floating(values.type):
        raise BadInput(f"the column {column!r} holds no numbers")
    if values.null_count:
        raise BadInput(f"the column {column!r} lacks a value in {values.null_count} rows")
    found = values.to_numpy()
    if not np.all(np.isfinite(found)) or np.any(found < 0):
        raise BadInput(f"the column {column!r} holds a number that is no length")
    return np.asarray(np.rint(found), dtype=np.int64)


def times_ns(table: pa.Table, column: str, unit: str) -> npt.NDArray[np.int64]:
    """Return a column of instants, or of numbers in ``unit``, as whole nanoseconds since its earliest.

    Raises BadInput where it is missing or holds anything else.
    """
    values = _column(table, column)
    if values.null_count:
        raise BadInput(f"the column {column!r} lacks a time in {values.null_count} rows")
    if pa.types.is_timestamp(values.type):
        zone = values.type.tz
        found = values.cast(pa.timestamp("ns", zone)).cast(pa.int64()).to_numpy()
    elif pa.types.is_integer(values.type):
        found = values.cast(pa.int64()).to_numpy() * (_NS // UNITS_PER_S[unit])
    elif pa.types.is_floating(values.type):
        found = np.rint(values.to_numpy() * (_NS / UNITS_PER_S[unit])).astype(np.int64)
    else:
        raise BadInput(f"the column {column!r} holds no times: write 2023-11-16 18:15:46.68 or seconds")
    if not len(found):
        raise BadInput("the table has no rows")
    return np.asarray(found - found.min(), dtype=np.int64)


def _column(table: pa.Table, name: str) -> Any:
    if name not in table.column_names:
        raise BadInput(f"there is no column {name!r}: {suggestion(name, table.column_names)}")
    column = table[name].combine_chunks()
    return pc.cast(column, pa.float64()) if pa.types.is_decimal(column.type) else column
