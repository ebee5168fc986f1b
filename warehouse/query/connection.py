"""A DuckDB connection with the datasets under their names and the views over them."""

from __future__ import annotations

import os
import re
import tempfile

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from joulemark.warehouse.query.groups import FIGURES, GROUPS
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.query.tables import MANIFESTS, SLOS, sites_table, slos_table
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.reasons import BOUNDARY_REASONS, FIDELITIES
from joulemark.warehouse.store.layout import dataset_folder
from joulemark.warehouse.views import ORDER, STORED, WHOLE, view_text

_GLOB = re.compile(r"[*?\[]")
"""A folder of such a name cannot be written as a pattern, nor allowed as a folder, at the same time."""
MEMORY_SHARE = 0.5
"""Share of main memory that a query may use before it spills to disk."""
SPILL = 4
"""Disk that a query may use in the temporary folder, in units of the memory that it may use."""


def connect(
    snapshot: Snapshot, *, threads: int | None = None, memory_bytes: int | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection with all datasets, tables and views of the snapshot, not yet locked down.

    Views that the build step stores are read from what it wrote, if all trials are in it.
    """
    connection = duckdb.connect(":memory:")
    _configure(connection, threads, memory_bytes or default_memory_bytes())
    stored = snapshot.covered(FIGURES).issuperset(snapshot.trials)
    define(connection, snapshot, stored=STORED if stored else ())
    return connection


def default_memory_bytes() -> int:
    """Return how much memory a query may use where nobody says."""
    return int(MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def define(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    *,
    stored: tuple[str, ...] = (),
    as_tables: tuple[str, ...] = (),
    copy: bool = False,
) -> None:
    """Define everything of the snapshot: datasets, tables, views and macros.

    Of ``stored`` views the written rows are read; those in ``as_tables`` are computed here and now. With ``copy`` no
    table lives in this process only.
    """
    _table(connection, "manifests", snapshot.table, copy=copy)
    _table(connection, "sites", sites_table(snapshot.sites), copy=True)
    _table(connection, "slos", slos_table(snapshot.slos), copy=True)
    present = _present(snapshot)
    for dataset in DATASETS.values():
        relation = _relation(connection, snapshot, dataset.name, dataset.arrow) + present.get(dataset.name, "")
        connection.execute(f"CREATE VIEW {dataset.name} AS {relation}")
    _vocabularies(connection)
    for name in ORDER:
        if (name in stored or (stored and name in WHOLE)) and snapshot.files[name]:
            relation = _relation(connection, snapshot, name, None) + present.get(name, "")
            connection.execute(f"CREATE VIEW {name} AS {relation}")
        elif name in as_tables:
            connection.execute(view_text(name).replace("CREATE VIEW", "CREATE TABLE", 1))
        else:
            connection.execute(view_text(name))


def define_empty(connection: duckdb.DuckDBPyConnection, *, last: str) -> None:
    """Define the datasets as tables without rows, and the views over them up to the one called ``last``."""
    for name, schema in {"manifests": MANIFESTS, "slos": SLOS, **{d: DATASETS[d].arrow for d in DATASETS}}.items():
        _table(connection, name, schema.empty_table(), copy=True)
    _vocabularies(connection)
    for name in ORDER[: ORDER.index(last) + 1]:
        connection.execute(view_text(name))


def lock(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    """Leave the connection nothing to read but the warehouse, and no setting to change."""
    allowed = f"[{quoted(snapshot.warehouse.root + '/')}]" if snapshot.warehouse.local else "[]"
    connection.execute(f"SET allowed_directories = {allowed}")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def quoted(text: str) -> str:
    """Return ``text`` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _present(snapshot: Snapshot) -> dict[str, str]:
    """Return a condition for datasets and stored views that also hold trials without a manifest of this snapshot."""
    trials = frozenset(snapshot.trials)
    condition = " WHERE trial IN (SELECT trial FROM manifests)"
    return {d: condition for g, names in GROUPS.items() for d in names if not snapshot.covered(g) <= trials}


def _configure(connection: duckdb.DuckDBPyConnection, threads: int | None, memory_bytes: int) -> None:
    for name, value in (
        ("TimeZone", "'UTC'"),
        ("python_enable_replacements", "false"),
        ("threads", str(threads or len(os.sched_getaffinity(0)))),
        ("memory_limit", f"'{memory_bytes >> 20}MiB'"),
        ("temp_directory", quoted(os.path.join(tempfile.gettempdir(), f"joulemark-duckdb-{os.getpid()}"))),
        ("max_temp_directory_size", f"'{SPILL * (memory_bytes >> 20)}MiB'"),
    ):
        connection.execute(f"SET {name} = {value}")


def _vocabularies(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"CREATE MACRO boundary_reasons() AS {_words(sorted(BOUNDARY_REASONS))}")
    connection.execute(f"CREATE MACRO fidelities() AS {_words(FIDELITIES)}")


def _words(words: list[str] | dict[str, str]) -> str:
    return "[" + ", ".join(quoted(w) for w in words) + "]"


def _table(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table, *, copy: bool) -> None:
    if not copy:
        connection.register(name, table)
        return
    connection.register("incoming", table)
    connection.execute(f"CREATE TABLE {name} AS FROM incoming")
    connection.unregister("incoming")


def _relation(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, name: str, schema: pa.Schema | None) -> str:
    """Return the SELECT that yields the rows of a dataset or stored view: nothing, a glob, the good files only.

    What DuckDB cannot read by itself (an object store) it reads through pyarrow. ``schema`` None: that of the files.
    """
    files, warehouse = snapshot.files[name], snapshot.warehouse
    columns = ", ".join(schema.names) if schema else "*"
    if not files:
        assert schema is not None
        _table(connection, f"no_{name}", schema.empty_table(), copy=True)
        return f"FROM no_{name} SELECT {columns}"
    if not warehouse.local or _GLOB.search(warehouse.root):
        paths = [warehouse.path(n) for n in files]
        source = pads.dataset(paths, schema=schema, format="parquet", filesystem=warehouse.filesystem)
        connection.register(f"remote_{name}", source)
        return f"FROM remote_{name} SELECT {columns}"
    if name in snapshot.whole:
        where = quoted(warehouse.path(dataset_folder(name)) + "/**/*.parquet")
    else:
        where = _words([warehouse.path(n) for n in files])
    if name not in snapshot.older or schema is None:
        options = f"hive_partitioning = false, union_by_name = {name in snapshot.older}"
        return f"FROM read_parquet({where}, {options}) SELECT {columns}"
    # Where all files are older, none has the newer columns: the empty table does.
    _table(connection, f"no_{name}", schema.empty_table(), copy=True)
    read = f"FROM read_parquet({where}, hive_partitioning = false, union_by_name = true)"
    return f"FROM (FROM no_{name} UNION ALL BY NAME {read}) SELECT {columns}"
