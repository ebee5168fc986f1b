"""Write a table of a dataset as one Parquet file, sorted and encoded as its schema says."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.schema.columns import Dataset
from joulemark.warehouse.schema.trial import Trace
from joulemark.warehouse.store.location import Warehouse

ZSTD_LEVEL = 3
ROW_GROUP_ROWS = 1 << 18


def write_table(
    warehouse: Warehouse, dataset: Dataset, name: str, table: pa.Table, *, metadata: Mapping[bytes, bytes] | None = None
) -> Trace:
    """Write ``table`` under ``name`` and return its digest. Raises DiskFull or WarehouseError.

    The table must fit the dataset's schema; a missing value in a column that has none is a ValueError. ``metadata``
    goes into the footer, beside the dataset's own.
    """
    table = table.cast(dataset.arrow)
    if metadata:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
    for column in dataset.columns:
        if not column.nullable and table[column.name].null_count:
            raise ValueError(f"{dataset.name}.{column.name} has no value in {table[column.name].null_count} rows")
    if dataset.sort_by:
        table = table.sort_by([(c, "ascending") for c in dataset.sort_by])
    encodings = dict.fromkeys(dataset.delta, "DELTA_BINARY_PACKED") | dict.fromkeys(dataset.split, "BYTE_STREAM_SPLIT")
    plain = [c.name for c in dataset.columns if c.name not in encodings]
    with warehouse.writing(name) as stream:
        pq.write_table(
            table,
            stream,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=plain,
            column_encoding=encodings or None,
            row_group_size=ROW_GROUP_ROWS,
            write_page_index=True,
        )
    return digest(dataset, name, table)


def digest(dataset: Dataset, name: str, table: pa.Table) -> Trace:
    """Return the digest of a table's content: rows, first and last instant, sums of its integer columns.

    It does not depend on how rows are spread over files, so compaction keeps it true.
    """
    instant = instant_column(table)
    first = last = None
    if instant and table.num_rows:
        edge = pc.min_max(table[instant].cast(pa.int64())).as_py()
        first, last = edge["min"], edge["max"]
    sums = {
        c.name: int(pc.sum(table[c.name].cast(pa.int64())).as_py() or 0)
        for c in dataset.columns
        if pa.types.is_integer(c.type) and c.name in table.column_names
    }
    return Trace(dataset.name, name, table.num_rows, first, last, sums)


def instant_column(table: pa.Table) -> str | None:
    """Return the name of the column whose instants a digest holds."""
    return next((c for c in ("t", "sent_at", "start_at") if c in table.column_names), None)


def differs(trace: Trace, found: Trace) -> str | None:
    """Return in which way a content is not what its digest says; None where it is the same.

    Sums of columns that came with a later version are not compared.
    """
    if trace.rows != found.rows:
        return f"{found.rows} rows instead of {trace.rows}"
    if (trace.first_us, trace.last_us) != (found.first_us, found.last_us):
        return "other first or last instant"
    wrong = [c for c, total in trace.sums.items() if found.sums.get(c) != total]
    return f"other sum of {', '.join(wrong)}" if wrong else None


def read_rows(warehouse: Warehouse, dataset: Dataset, name: str) -> pa.Table:
    """Return the rows of a file of this or an earlier version, in the columns of this one. Raises WarehouseError."""
    try:
        table = pq.read_table(warehouse.path(name), filesystem=warehouse.filesystem)
    except (OSError, pa.ArrowException) as error:
        raise WarehouseError(f"{name}: cannot be read: {str(error).splitlines()[0]}") from error
    for i, column in enumerate(dataset.columns):
        if column.name not in table.column_names:
            table = table.add_column(min(i, table.num_columns), column.name, pa.nulls(table.num_rows, column.type))
    return table.select(dataset.arrow.names).cast(dataset.arrow)
