"""Seal segments: read, sort, write to the warehouse as Parquet, and only then delete the local copy."""

from __future__ import annotations

from pathlib import Path

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
    try:
        table = read_segment(segment)
    except ValueError:
        if segment.stat().st_size:
            segment.rename(segment.with_suffix(".broken"))
        else:
            segment.unlink()
        return None
    trace = write_table(warehouse, dataset, name, table) if table.num_rows else None
    segment.unlink()
    return trace


def leftovers(folder: Path) -> list[Path]:
    """Return the segments that a crash left below ``folder``, oldest first."""
    return sorted([*folder.glob(f"*{OPEN}"), *folder.glob(f"*{CLOSED}")])
