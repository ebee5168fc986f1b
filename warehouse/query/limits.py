"""How much time and memory a query may use, and the words for a user whose query needed more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from joulemark.warehouse.errors import QueryError

MIB = 1 << 20
ANSWER_SHARE = 0.5
"""Share of the memory that the rows of an answer may take; DuckDB's own limit does not count them."""


@dataclass(frozen=True)
class Limits:
    """Limits of every query of a connection; no ``timeout_s``: as long as it takes."""

    memory_bytes: int
    timeout_s: float | None = None
    threads: int | None = None
    _over: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)

    @contextmanager
    def watched(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Interrupt what the connection does in the block when its time is over."""
        self._over.clear()
        if self.timeout_s is None:
            yield
            return
        timer = threading.Timer(self.timeout_s, self._end, (connection,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def gathered(self, relation: duckdb.DuckDBPyRelation) -> pa.Table:
        """Return the rows of an answer. Raises QueryError where they are too many to hold in memory."""
        at_most = int(self.memory_bytes * ANSWER_SHARE)
        batches: list[pa.RecordBatch] = []
        held = 0
        reader = relation.to_arrow_reader()
        try:
            for batch in reader:
                held += batch.nbytes
                if held > at_most:
                    raise QueryError(
                        f"the answer takes more than {at_most // MIB} MiB of memory; "
                        "ask for less with LIMIT or an aggregate, or allow more with --memory"
                    )
                batches.append(batch)
        finally:
            # An open result keeps the connection from the next query.
            reader.close()
        return pa.Table.from_batches(batches, schema=reader.schema)

    def hit(self, error: duckdb.Error) -> str | None:
        """Return what to tell a user where ``error`` comes from a limit, else None."""
        if self._over.is_set() and isinstance(error, duckdb.InterruptException):
            return f"the query took longer than {self.timeout_s:g} s; ask for less, or allow more with --timeout"
        if isinstance(error, duckdb.OutOfMemoryException):
            return (
                f"the query needs more than {self.memory_bytes // MIB} MiB of memory; "
                "ask for less, or allow more with --memory"
            )
        return None

    def _end(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._over.set()
        connection.interrupt()
