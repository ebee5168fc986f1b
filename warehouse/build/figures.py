"""Rows of the views that are stored, computed for a few trials from their records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from joulemark.warehouse.query.connection import define
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.views import STORED


@dataclass(frozen=True)
class Figures:
    """A connection in which the stored views are tables."""

    connection: duckdb.DuckDBPyConnection

    def tables(self, trials: Sequence[str]) -> dict[str, pa.Table]:
        """Return the rows of these trials, by view."""
        query = "FROM {} WHERE list_contains($trials, trial) ORDER BY ALL"
        return {
            name: typed(self.connection.sql(query.format(name), params={"trials": list(trials)})) for name in STORED
        }


def typed(relation: duckdb.DuckDBPyRelation) -> pa.Table:
    """Return the rows as a table in which JSON is of that type, so that it still is when read from Parquet."""
    table = relation.to_arrow_table()
    for i, kind in enumerate(relation.types):
        if str(kind) == "JSON":
            column = table.column(i).combine_chunks().cast(pa.string())
            table = table.set_column(i, table.field(i).name, pa.ExtensionArray.from_storage(pa.json_(), column))
    return table


@contextmanager
def figure_tables(snapshot: Snapshot) -> Iterator[Figures]:
    """Compute the stored views over the snapshot. Raises duckdb.Error where a file cannot be read."""
    connection = duckdb.connect(":memory:")
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET python_enable_replacements = false")
        define(connection, snapshot, as_tables=STORED)
        yield Figures(connection)
    finally:
        connection.close()
