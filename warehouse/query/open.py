"""Open a warehouse for questions: build what is missing, make the views, leave nothing open but SELECT."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa

from joulemark.warehouse.build.build import build
from joulemark.warehouse.errors import QueryError, WarehouseError
from joulemark.warehouse.query.connection import connect, lock
from joulemark.warehouse.query.snapshot import Snapshot, take, without_unreadable
from joulemark.warehouse.store.location import Warehouse

_FAULTS_OF_THE_QUERY = (
    duckdb.ParserException,
    duckdb.SyntaxException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.PermissionException,
    duckdb.ConversionException,
)
_REMEDY = "what lies below built/ can be deleted and is made again; take other damaged records out of the warehouse"
_EXPLAIN = re.compile(r"\s*explain(\s+analyze)?\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Connection:
    """An open warehouse. ``warnings`` name what could not be read or built. A context manager; close it when done."""

    warehouse: Warehouse
    duckdb: duckdb.DuckDBPyConnection
    snapshot: Snapshot
    warnings: tuple[str, ...]

    def sql(self, text: str) -> pa.Table:
        """Return the rows of one SELECT (``from leaderboard`` is one). Raises QueryError."""
        return run_sql(self, text)

    def close(self) -> None:
        """Let go of everything that the connection holds."""
        self.duckdb.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self.close()


def open_warehouse(
    place: str | Path | Warehouse,
    *,
    read_only_user: bool = True,
    build_first: bool = True,
    threads: int | None = None,
    memory_bytes: int | None = None,
) -> Connection:
    """Open the warehouse at a path or URL, after building what new trials need.

    With ``read_only_user`` the connection reads nothing but the warehouse, and no setting can be changed. Where the
    warehouse cannot be written, what was built before is used and a warning says so. Raises WarehouseError where
    there is no warehouse.
    """
    warehouse = place if isinstance(place, Warehouse) else Warehouse.at(place)
    if not warehouse.exists():
        raise WarehouseError(
            f"there is no warehouse at {warehouse.url}; run `joulemark run SWEEP.yaml` first, "
            "or give another --warehouse"
        )
    snapshot, warnings = _prepared(warehouse, build_first=build_first)
    try:
        connection = connect(snapshot, threads=threads, memory_bytes=memory_bytes)
        if read_only_user:
            lock(connection, snapshot)
    except duckdb.Error as error:
        raise WarehouseError(f"warehouse {warehouse.url}: {one_line(error)}") from error
    return Connection(warehouse, connection, snapshot, warnings)


def run_sql(connection: Connection, text: str) -> pa.Table:
    """Return the rows of one SELECT; of columns that share a name, the later ones get a number behind it.

    Raises QueryError with DuckDB's own hint, on one line, and WarehouseError where records cannot be read.
    """
    try:
        _refuse_all_but_select(connection.duckdb, text)
        return _named_apart(_read_only(connection.duckdb, text))
    except duckdb.Error as error:
        damaged = () if isinstance(error, _FAULTS_OF_THE_QUERY) else _damaged(connection.snapshot)
        if damaged:
            raise WarehouseError(f"{'; '.join(damaged)}: {_REMEDY}") from error
        raise QueryError(one_line(error)) from error


def one_line(error: Exception) -> str:
    """Return DuckDB's message without its picture of the query, its hints joined into one line."""
    text = re.split(r"\n\s*\n?LINE \d+:", str(error))[0]
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _prepared(warehouse: Warehouse, *, build_first: bool) -> tuple[Snapshot, tuple[str, ...]]:
    if not build_first:
        snapshot = take(warehouse)
        return snapshot, snapshot.warnings
    try:
        report = build(warehouse)
    except WarehouseError as error:
        snapshot = take(warehouse)
        return snapshot, (*snapshot.warnings, f"newest trials are not in the figures: {error}")
    return report.snapshot, report.warnings


def _read_only(connection: duckdb.DuckDBPyConnection, text: str) -> pa.Table:
    # A SELECT can hold an INSERT since DuckDB 2.0 (WITH ... AS (INSERT ...)); the transaction refuses that.
    connection.execute("BEGIN TRANSACTION READ ONLY")
    try:
        return connection.sql(text).to_arrow_table()
    finally:
        connection.execute("ROLLBACK")


def _named_apart(table: pa.Table) -> pa.Table:
    """Return the table with names that are all different: a join gives the same name twice."""
    names: list[str] = []
    for name in table.column_names:
        apart, number = name, 1
        while apart in names:
            number += 1
            apart = f"{name}_{number}"
        names.append(apart)
    return table.rename_columns(names)


def _damaged(snapshot: Snapshot) -> tuple[str, ...]:
    """Return a phrase for every file whose footer is whole and whose pages are not. Reads all records."""
    known = len(snapshot.warnings)
    return without_unreadable(snapshot, snapshot.files).warnings[known:]


def _refuse_all_but_select(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    statements = connection.extract_statements(_EXPLAIN.sub("", text, count=1) if _EXPLAIN.match(text) else text)
    if not statements:
        raise QueryError("the query is empty; for example: from leaderboard")
    if len(statements) != 1:
        raise QueryError(f"one query at a time: this is {len(statements)}")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = statements[0].type.name.replace("_", " ")
        raise QueryError(f"only SELECT is possible here, not {kind}: the warehouse is read-only for queries")
