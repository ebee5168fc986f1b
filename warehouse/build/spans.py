"""When the requests of each trial were active, read from the few columns that say so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from joulemark.warehouse.errors import Vanished
from joulemark.warehouse.store.location import Warehouse

COLUMNS = ("trial", "node", "request", "sent_at", "last_token_at")
OF_TOKENS = ("first_token_at", "output_tokens")


@dataclass(frozen=True)
class Spans:
    """Requests of one client in one trial: their numbers, when each was sent, and its last token or its end."""

    node: str
    number: NDArray[np.int32]
    sent_us: NDArray[np.int64]
    done_us: NDArray[np.int64]
    first_us: NDArray[np.int64]
    tokens: NDArray[np.int64]


def read_spans(
    warehouse: Warehouse, files: Iterable[str], trials: Collection[str], *, tokens: bool = False
) -> dict[str, list[Spans]]:
    """Return the requests of these trials, by trial; with ``tokens`` also their first tokens and how many there were.

    Raises Vanished where a file is gone, OSError or ArrowException where one cannot be read.
    """
    found: defaultdict[str, list[Spans]] = defaultdict(list)
    for name in files:
        try:
            with warehouse.filesystem.open_input_file(warehouse.path(name)) as source:
                file = pq.ParquetFile(source, read_dictionary=["trial", "node"])
                # Where every request got a token, the end of none of them is asked for.
                end = ("ended_at",) if tokens or _may_be_null(file.metadata, "last_token_at") else ()
                table = file.read(columns=[*COLUMNS, *end, *(OF_TOKENS if tokens else ())])
        except FileNotFoundError as error:
            raise Vanished(f"{name} is gone") from error
        for trial, spans in _by_trial(table):
            if trial in trials:
                found[trial].append(spans)
    return {trial: [_together(node, some) for node, some in _by_node(every)] for trial, every in found.items()}


def _by_trial(table: pa.Table) -> Iterable[tuple[str, Spans]]:
    """Yield each stretch of rows of one trial and node; a file that is sorted has one of each."""
    if not table.num_rows:
        return
    table = table.unify_dictionaries().combine_chunks()
    words = [table[c].chunk(0) for c in ("trial", "node")]
    trial, node = (w.indices.to_numpy() for w in words)
    trials, nodes = (w.dictionary.to_pylist() for w in words)
    number = np.asarray(table["request"].to_numpy(), dtype=np.int32)
    sent_us = _instants(table["sent_at"])
    done = table["last_token_at"]
    done_us = _instants(pc.coalesce(done, table["ended_at"]) if "ended_at" in table.column_names else done)
    first_us, tokens = (np.broadcast_to(np.int64(0), len(number)),) * 2
    if "output_tokens" in table.column_names:
        first_us = _instants(pc.coalesce(table["first_token_at"], table["ended_at"]))
        tokens = _instants(pc.fill_null(table["output_tokens"], 0))
    new = np.flatnonzero((trial[1:] != trial[:-1]) | (node[1:] != node[:-1])) + 1
    for begin, end in zip([0, *new], [*new, len(trial)], strict=True):
        part = slice(begin, end)
        instants = (column[part] for column in (sent_us, done_us, first_us, tokens))
        yield trials[trial[begin]], Spans(nodes[node[begin]], number[part], *instants)


def _by_node(spans: list[Spans]) -> list[tuple[str, list[Spans]]]:
    nodes: defaultdict[str, list[Spans]] = defaultdict(list)
    for some in spans:
        nodes[some.node].append(some)
    return sorted(nodes.items())


def _together(node: str, spans: list[Spans]) -> Spans:
    if len(spans) == 1:
        return spans[0]
    number, *instants = (np.concatenate([getattr(s, f.name) for s in spans]) for f in fields(Spans)[1:])
    order = np.argsort(number, kind="stable")
    return Spans(node, number[order], *(column[order] for column in instants))


def _may_be_null(metadata: pq.FileMetaData, column: str) -> bool:
    """Return whether a column may hold NULLs, as far as the footer says."""
    index = metadata.schema.to_arrow_schema().names.index(column)
    groups = (metadata.row_group(i).column(index).statistics for i in range(metadata.num_row_groups))
    return any(s is None or not s.has_null_count or s.null_count for s in groups)


def _instants(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
