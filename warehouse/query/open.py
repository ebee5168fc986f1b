"""Open a warehouse for questions: build what is missing, make the views, leave nothing open but SELECT."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

import duckdb
import pyarrow as pa

from joulemark.warehouse.build.build import build
from joulemark.warehouse.errors import QueryError, WarehouseError
from joulemark.warehouse.query.connection import connect, default_memory_bytes, lock
from joulemark.warehouse.query.frames import to_pandas, to_polars
from joulemark.warehouse.query.limits import Limits
from joulemark.warehouse.query.snapshot import Snapshot, take, without_unreadable
from joulemark.warehouse.store.location import Warehouse

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

TRIES = 3
"""How often a query begins again because files were compacted under its hands."""
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


@dataclass
class Connection:
    """An open warehouse. ``warnings`` name what could not be read or built. A context manager; close it when done.

    It shows the warehouse as it was when it was opened. Where files are compacted meanwhile, it looks again.
    """

    warehouse: Warehouse
    duckdb: duckdb.DuckDBPyConnection
    snapshot: Snapshot
    warnings: tuple[str, ...]
    limits: Limits
    read_only_user: bool = True

    def sql(self, text: str) -> pa.Table:
        """Return the rows of one SELECT (``from leaderboard`` is one) as an Arrow table. Raises QueryError."""
        return run_sql(self, text)

    def pandas(self, text: str) -> pd.DataFrame:
        """Return the rows of one SELECT as a pandas frame. Raises QueryError, and MissingTool without pandas."""
        return to_pandas(run_sql(self, text))

    def polars(self, text: str) -> pl.DataFrame:
        """Return the rows of one SELECT as a polars frame. Raises QueryError, and MissingTool without polars."""
        return to_polars(run_sql(self, text))

    def look_again(self) -> None:
        """Show the warehouse as it is now. Raises WarehouseError."""
        self.duckdb.close()
        self.snapshot = take(self.warehouse)
        self.duckdb = _connection(self.snapshot, self.limits, read_only_user=self.read_only_user)

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
    timeout_s: float | None = None,
) -> Connection:
    """Open the warehouse at a path or URL, after building what new trials need.

    With ``read_only_user`` the connection reads nothing but the warehouse, and no setting can be changed. A query ends
    with QueryError when it needs more than ``memory_bytes`` (default: half of main memory) or ``timeout_s`` (default:
    no limit). Where the warehouse cannot be written, what was built before is used and a warning says so. Raises
    WarehouseError where there is no warehouse.
    """
    warehouse = place if isinstance(place, Warehouse) else Warehouse.at(place)
    if not warehouse.exists():
        raise WarehouseError(
            f"there is no warehouse at {warehouse.url}; run `joulemark run SWEEP.yaml` first, "
            "or give another --warehouse"
        )
    limits = Limits(memory_bytes or default_memory_bytes(), timeout_s, threads)
    snapshot, warnings = _prepared(warehouse, build_first=build_first)
    connection = _connection(snapshot, limits, read_only_user=read_only_user)
    return Connection(warehouse, connection, snapshot, warnings, limits, read_only_user)


def open_snapshot(snapshot: Snapshot) -> Connection:
    """Open what a snapshot holds, and build nothing. Raises WarehouseError."""
    limits = Limits(default_memory_bytes())
    connection = _connection(snapshot, limits, read_only_user=True)
    return Connection(snapshot.warehouse, connection, snapshot, snapshot.warnings, limits)


def run_sql(connection: Connection, text: str) -> pa.Table:
    """Return the rows of one SELECT; of columns that share a name, the later ones get a number behind it.

    Raises QueryError with DuckDB's own hint, on one line, and WarehouseError where records cannot be read.
    """
    for _ in range(TRIES):
        try:
            _refuse_all_but_select(connection.duckdb, text)
            return _named_apart(_read_only(connection.duckdb, text, connection.limits))
        except duckdb.Error as error:
            if isinstance(error, _FAULTS_OF_THE_QUERY) or not _moved(connection.snapshot):
                _raise(connection, error)
            connection.look_again()
    raise WarehouseError("records are being moved all the time; ask again when compaction has ended")


def _raise(connection: Connection, error: duckdb.Error) -> NoReturn:
    limit = connection.limits.hit(error)
    if limit is not None:
        raise QueryError(limit) from error
    damaged = () if isinstance(error, _FAULTS_OF_THE_QUERY) else _damaged(connection.snapshot)
    if damaged:
        raise WarehouseError(f"{'; '.join(damaged)}: {_REMEDY}") from error
    raise QueryError(one_line(error)) from error


def _moved(snapshot: Snapshot) -> bool:
    """Return whether a file of the snapshot is gone, because its records lie elsewhere by now."""
    return any(not snapshot.warehouse.exists(n) for names in snapshot.files.values() for n in names)


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


def _connection(snapshot: Snapshot, limits: Limits, *, read_only_user: bool) -> duckdb.DuckDBPyConnection:
    try:
        connection = connect(snapshot, threads=limits.threads, memory_bytes=limits.memory_bytes)
        if read_only_user:
            lock(connection, snapshot)
    except duckdb.Error as error:
        raise WarehouseError(f"warehouse {snapshot.warehouse.url}: {one_line(error)}") from error
    return connection


def _read_only(connection: duckdb.DuckDBPyConnection, text: str, limits: Limits) -> pa.Table:
    # A SELECT can hold an INSERT since DuckDB 2.0 (WITH ... AS (INSERT ...)); the transaction refuses that.
    connection.execute("BEGIN TRANSACTION READ ONLY")
    try:
        with limits.watched(connection):
            return limits.gathered(connection.sql(text))
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
