"""Seal segments: read, sort, write to the warehouse as Parquet, and only then delete the local copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from joulemark.agents.spool.segment import CLOSED, OPEN, read_segment
from joulemark.warehouse.schema.columns import Dataset
from joulemark.warehouse.schema.trial import Trace
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table


def seal(warehouse: Warehouse, dataset: Dataset, segment: Path, name: str) -> Trace | None:
    """Write ``segment`` to the warehouse under ``name`` and delete it; None where it held no row.

    Raises DiskFull or WarehouseError, and then the segment is still there. One whose head was not written whole is
    kept aside as ``.broken``.
    """
    return seal_together(warehouse, dataset, [segment], name)


def seal_together(warehouse: Warehouse, dataset: Dataset, segments: Sequence[Path], name: str) -> Trace | None:
    """Write the rows of all ``segments`` as one file, as ``seal`` does with one."""
    tables = {segment: table for segment in segments if (table := _read(segment)) is not None}
    rows = sum(table.num_rows for table in tables.values())
    trace = write_table(warehouse, dataset, name, pa.concat_tables(tables.values())) if rows else None
    for segment in tables:
        segment.unlink()
    return trace


def _read(segment: Path) -> pa.Table | None:
    """Return the rows of a segment; one without a head is put aside, or deleted where it is empty."""
    try:
        return read_segment(segment)
    except ValueError:
        if segment.stat().st_size:
            segment.rename(segment.with_suffix(".broken"))
        else:
            segment.unlink()
        return None


def leftovers(folder: Path) -> list[Path]:
    """Return the segments that a crash left below ``folder``, oldest first."""
    return sorted([*folder.glob(f"*{OPEN}"), *folder.glob(f"*{CLOSED}")])
