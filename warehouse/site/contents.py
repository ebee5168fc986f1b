"""What a publication holds: the tables of the warehouse, without simulated trials unless they are asked for.

Engines that were put together for tests are never in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from joulemark.warehouse.query.open import Connection
from joulemark.warehouse.schema.trial import FOR_TESTS
from joulemark.warehouse.site.options import Options
from joulemark.warehouse.site.redact import Redactor, redactor
from joulemark.warehouse.views import MACROS, ORDER, view_text

Row = dict[str, Any]

PER_REQUEST = ("tokens", "request_latency")
"""Views over raw traces: not published as tables, but there in the page's SQL where traces are."""
TABLES = (
    *("trial_energy", "cell_statistics", "lever_effects", "node_differences", "sweep_drift"),
    *("nodes", "quality", "imported", "sites", "slos", "manifests"),
)
"""What is published besides the views."""
SUMMARIES = {"lever_summary": "lever_effects"}
"""Views over many cells, and what each is made of."""
TRACES = ("power", "requests", "engine_state", "device_state", "request_energy")
"""What is published for each trial."""

_HIDE = """
CREATE TEMP TABLE hidden_trials AS SELECT trial, cell, sweep FROM manifests
  WHERE simulated AND NOT {wanted} OR coalesce(engine::JSON ->> '$.requirement_set', '') LIKE '{for_tests}';
CREATE TEMP TABLE hidden_cells AS
  SELECT DISTINCT cell FROM hidden_trials
  WHERE cell NOT IN (SELECT cell FROM manifests WHERE trial NOT IN (SELECT trial FROM hidden_trials));
CREATE TEMP TABLE hidden_sweeps AS
  SELECT DISTINCT sweep FROM hidden_trials
  WHERE sweep NOT IN (SELECT sweep FROM manifests WHERE trial NOT IN (SELECT trial FROM hidden_trials));
"""


@dataclass(frozen=True)
class Contents:
    """A warehouse as it is published."""

    connection: Connection
    redact: Redactor
    simulated: bool

    @classmethod
    def of(cls, connection: Connection, options: Options) -> Contents:
        """Prepare ``connection``, which must not be locked down, and find what to redact."""
        wanted = "true" if options.simulated else "false"
        connection.duckdb.execute(_HIDE.format(wanted=wanted, for_tests=FOR_TESTS))
        nodes = _nodes(connection)
        told = connection.duckdb.sql("SELECT coalesce(error, '') || ' ' || coalesce(engine, '') FROM manifests")
        texts = (text for (text,) in told.fetchall())
        return cls(connection, redactor(nodes, texts, on=options.redact), options.simulated)

    def table(self, name: str) -> pa.Table:
        """Return a view or dataset as it is published: rows in a fixed order, nothing simulated unless asked for."""
        return self.redact.table(self.raw(name))

    def raw(self, name: str) -> pa.Table:
        """Return it before redaction."""
        kept = self.connection.duckdb.sql(self._select(name)).to_arrow_table()
        # The leaderboard and the failures have an order of their own.
        return kept if name in ("leaderboard", "failures") else _sorted(kept)

    def rows(self, name: str) -> list[Row]:
        """Return the rows of a view or dataset as it is published."""
        return list(self.table(name).to_pylist())

    def query(self, text: str, parameters: list[Any] | None = None) -> pa.Table:
        """Return the rows of a query of ours, redacted."""
        return self.redact.table(self.connection.duckdb.sql(text, params=parameters).to_arrow_table())

    def has(self, name: str) -> bool:
        """Return whether there is a table or view of this name."""
        return name in self._all()

    def names(self) -> list[str]:
        """Return the tables that are published, in the order of the documentation."""
        views = [n for n in reversed(ORDER) if n not in (*MACROS, *PER_REQUEST)]
        return [n for n in (*views, *TABLES) if n in self._all()]

    def trials(self) -> list[str]:
        """Return the names of all trials that are published, sorted."""
        table = self.raw("trials")
        return sorted(table["trial"].to_pylist())

    def _all(self) -> set[str]:
        found = self.connection.duckdb.sql(
            "SELECT table_name FROM duckdb_tables() UNION SELECT view_name FROM duckdb_views()"
        )
        return {name for (name,) in found.fetchall()}

    def _select(self, name: str) -> str:
        """Return the query for what is left of a table. A summary names no cells: it is made of what is left."""
        source = SUMMARIES.get(name)
        if source is None:
            return f"FROM {name}{self._condition(name)}"
        select = view_text(name).partition(f"CREATE VIEW {name} AS")[2].strip().removesuffix(";")
        return select.replace(f"FROM {source}", f"FROM (FROM {source}{self._condition(source)})")

    def _condition(self, name: str) -> str:
        columns = set(self.connection.duckdb.sql(f"FROM {name} LIMIT 0").columns)
        parts = []
        if "trial" in columns:
            parts.append("trial NOT IN (SELECT trial FROM hidden_trials)")
        elif "cell" in columns:
            # What was imported has no cell of ours.
            parts.append("(cell IS NULL OR cell NOT IN (SELECT cell FROM hidden_cells))")
        elif "sweep" in columns:
            parts.append("sweep NOT IN (SELECT sweep FROM hidden_sweeps)")
        if "cell_a" in columns:
            hidden = "(SELECT cell FROM hidden_cells)"
            parts.append(f"cell_a NOT IN {hidden} AND cell_b NOT IN {hidden}")
        if "fidelity" in columns and not self.simulated:
            parts.append("coalesce(fidelity, '') <> 'simulated'")
        return f" WHERE {' AND '.join(parts)}" if parts else ""


def _nodes(connection: Connection) -> list[str]:
    named = connection.duckdb.sql("""
        SELECT unnest(nodes).node AS node FROM manifests
        UNION SELECT node FROM nodes UNION SELECT node FROM power UNION SELECT node FROM requests
    """)
    return sorted(name for (name,) in named.fetchall())


def _sorted(table: pa.Table) -> pa.Table:
    """Return the table sorted by its plain columns, so that the same warehouse gives the same file."""
    plain = [f.name for f in table.schema if not pa.types.is_nested(f.type)]
    return table.sort_by([(name, "ascending") for name in plain]) if plain and table.num_rows else table
