"""An in-memory DuckDB connection with the datasets under their names and the views over them."""

from __future__ import annotations

import os
import re
import tempfile
from importlib import resources

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.query.tables import manifests_table, sites_table, slos_table
from joulemark.warehouse.schema import DATASETS, Dataset
from joulemark.warehouse.schema.reasons import BOUNDARY_REASONS, FIDELITIES
from joulemark.warehouse.store.layout import dataset_folder
from joulemark.warehouse.views import ORDER

_GLOB = re.compile(r"[*?\[]")
"""A folder of such a name cannot be written as a pattern, nor allowed as a folder, at the same time."""
MEMORY_SHARE = 0.5
"""Share of main memory that a query may use before it spills to disk."""


def connect(
    snapshot: Snapshot, *, threads: int | None = None, memory_bytes: int | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection with all datasets, tables and views of the snapshot, not yet locked down."""
    connection = duckdb.connect(":memory:")
    memory = memory_bytes or int(MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name, value in (
        ("TimeZone", "'UTC'"),
        ("python_enable_replacements", "false"),
        ("threads", str(threads or len(os.sched_getaffinity(0)))),
        ("memory_limit", f"'{memory >> 20}MiB'"),
        ("temp_directory", quoted(os.path.join(tempfile.gettempdir(), f"joulemark-duckdb-{os.getpid()}"))),
    ):
        connection.execute(f"SET {name} = {value}")
    _load(connection, "manifests", manifests_table(snapshot.manifests))
    _load(connection, "sites", sites_table(snapshot.sites))
    _load(connection, "slos", slos_table(snapshot.slos))
    for dataset in DATASETS.values():
        connection.execute(f"CREATE VIEW {dataset.name} AS {_relation(connection, snapshot, dataset)}")
    connection.execute(f"CREATE MACRO boundary_reasons() AS {_words(sorted(BOUNDARY_REASONS))}")
    connection.execute(f"CREATE MACRO fidelities() AS {_words(FIDELITIES)}")
    for name in ORDER:
        connection.execute(view_text(name))
    return connection


def lock(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    """Leave the connection nothing to read but the warehouse, and no setting to change."""
    allowed = f"[{quoted(snapshot.warehouse.root + '/')}]" if snapshot.warehouse.local else "[]"
    connection.execute(f"SET allowed_directories = {allowed}")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def view_text(name: str) -> str:
    """Return the SQL of a view, comments included."""
    return resources.files("joulemark.warehouse.views").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def quoted(text: str) -> str:
    """Return ``text`` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _words(words: list[str] | dict[str, str]) -> str:
    return "[" + ", ".join(quoted(w) for w in words) + "]"


def _load(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.register("incoming", table)
    connection.execute(f"CREATE TABLE {name} AS FROM incoming")
    connection.unregister("incoming")


def _relation(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, dataset: Dataset) -> str:
    """Return the SELECT that yields the dataset's rows: nothing, a glob, the good files only.

    What DuckDB cannot read by itself (an object store) it reads through pyarrow.
    """
    files, warehouse = snapshot.files[dataset.name], snapshot.warehouse
    columns = ", ".join(c.name for c in dataset.columns)
    if not files:
        _load(connection, f"no_{dataset.name}", dataset.arrow.empty_table())
        return f"FROM no_{dataset.name} SELECT {columns}"
    if not warehouse.local or _GLOB.search(warehouse.root):
        paths = [warehouse.path(n) for n in files]
        source = pads.dataset(paths, schema=dataset.arrow, format="parquet", filesystem=warehouse.filesystem)
        connection.register(f"remote_{dataset.name}", source)
        return f"FROM remote_{dataset.name} SELECT {columns}"
    if snapshot.skipped[dataset.name]:
        where = _words([warehouse.path(n) for n in files])
    else:
        where = quoted(warehouse.path(dataset_folder(dataset.name)) + "/**/*.parquet")
    if dataset.name not in snapshot.older:
        return f"FROM read_parquet({where}, hive_partitioning = false) SELECT {columns}"
    # Where all files are older, none has the newer columns: the empty table does.
    _load(connection, f"no_{dataset.name}", dataset.arrow.empty_table())
    read = f"FROM read_parquet({where}, hive_partitioning = false, union_by_name = true)"
    return f"FROM (FROM no_{dataset.name} UNION ALL BY NAME {read}) SELECT {columns}"
