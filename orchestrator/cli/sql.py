"""joulemark sql: ask your own questions."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from joulemark.orchestrator.cli.options import show_warnings, warehouse_option
from joulemark.warehouse.errors import BadInput
from joulemark.workloads.document import read_text_file

_DUCKDB = "2"
"""Main version of DuckDB whose storage format a database file has."""


@click.command()
@click.argument("query", required=False)
@click.option("--file", "-f", "query_file", type=click.Path(path_type=Path), help="Read the query from a file.")
@click.option("--csv", "kind", flag_value="csv", help="Print CSV.")
@click.option("--json", "kind", flag_value="json", help="Print JSON.")
@click.option("--parquet", "kind", flag_value="parquet", help="Write Parquet (with --out, or into a pipe).")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Write to a file instead of stdout.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), help="Give up after so long [s].")
@click.option("--memory", "memory_mib", type=click.IntRange(64), help="Memory to use at most [MiB]; default: half.")
@click.option(
    "--write-database",
    "database",
    type=click.Path(path_type=Path),
    metavar="FILE.duckdb",
    help="Write a file with all views for other DuckDB clients, instead of a query.",
)
@warehouse_option
def sql(
    query: str | None,
    query_file: Path | None,
    kind: str | None,
    out: Path | None,
    timeout_s: float | None,
    memory_mib: int | None,
    database: Path | None,
    warehouse: str,
) -> None:
    r"""Query the warehouse (read-only). A bare FROM works.

    \b
      joulemark sql "from leaderboard"
      joulemark sql "select model, avg(tokens_per_joule) from leaderboard group by all" --csv
      joulemark sql "show tables"
    """
    from joulemark.warehouse.query.open import open_warehouse
    from joulemark.warehouse.query.output import write

    if database is not None:
        _write_database(warehouse, database, query or query_file)
        return
    text = _query(query, query_file)
    kind = kind or "table"
    if kind == "parquet" and out is None and sys.stdout.isatty():
        raise BadInput("Parquet is binary: give a file with --out, or pipe it")
    memory_bytes = None if memory_mib is None else memory_mib << 20
    with open_warehouse(warehouse, timeout_s=timeout_s, memory_bytes=memory_bytes) as connection:
        show_warnings(connection.warnings)
        table = connection.sql(text)
    if out is not None:
        try:
            with out.open("wb") as file:
                write(table, kind, file)
        except OSError as error:
            raise BadInput(f"cannot write {out}: {error.strerror}") from error
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    write(table, kind, sys.stdout.buffer, width=width)
    sys.stdout.buffer.flush()


def _write_database(warehouse: str, database: Path, query: object) -> None:
    from joulemark.warehouse.query.database import write_database
    from joulemark.warehouse.query.open import open_warehouse

    if query is not None:
        raise BadInput("--write-database writes the views: give it without a query")
    with open_warehouse(warehouse) as connection:
        show_warnings(connection.warnings)
        write_database(connection.snapshot, database)
    print(f"{database}: all views; open it with any DuckDB {_DUCKDB} client, delete it at any time")


def _query(query: str | None, query_file: Path | None) -> str:
    if (query is None) == (query_file is None):
        raise BadInput('give one query, as an argument or with --file; for example: joulemark sql "from leaderboard"')
    if query is not None:
        return query
    assert query_file is not None
    return read_text_file(query_file, "query")
