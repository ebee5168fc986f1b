"""Tables as files: CSV, JSON, Parquet and Markdown to take away, Arrow for the page's SQL."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from joulemark.warehouse.query.output import write

SUFFIXES = {"csv": "csv", "json": "json", "parquet": "parquet", "markdown": "md"}

_MARKDOWN = {
    "rank": "rank",
    "model": "model",
    "quantization": "precision",
    "engine": "engine",
    "engine_version": "version",
    "accelerator": "accelerator",
    "devices": "devices",
    "concurrency": "concurrency",
    "j_per_token": "J/token",
    "j_per_token_low": "low",
    "j_per_token_high": "high",
    "tokens_per_s": "tokens/s",
    "mean_w": "W",
    "ttft_p50_ms": "TTFT p50 ms",
    "itl_p99_ms": "ITL p99 ms",
    "trials": "trials",
    "grade": "grade",
    "boundary": "boundary",
    "fidelity": "fidelity",
}
"""Columns of the leaderboard that a Markdown table has, with their titles."""


def as_file(table: pa.Table, kind: str) -> bytes:
    """Return a table as one of ``SUFFIXES``."""
    if kind == "markdown":
        return markdown(table).encode()
    if kind == "csv" and table.num_rows == 0:
        # The writer leaves the header out where there is no row.
        return (",".join(f'"{n}"' for n in table.column_names) + "\n").encode()
    buffer = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, buffer, compression="zstd", store_schema=False)
    else:
        write(table, kind, buffer)
    return buffer.getvalue()


def arrow_stream(table: pa.Table) -> bytes:
    """Return a table as an Arrow stream for DuckDB in a browser: instants without a zone, for it knows none offline."""
    fields = [pa.field(f.name, _without_zone(f.type)) for f in table.schema]
    plain = table.cast(pa.schema(fields)).combine_chunks()
    plain = pa.table([_clean(column) for column in plain.columns], schema=plain.schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, plain.schema) as stream:
        stream.write_table(plain)
    return bytes(sink.getvalue().to_pybytes())


def markdown(table: pa.Table) -> str:
    """Return the leaderboard, or any other table, as a Markdown table."""
    titles = {n: t for n, t in _MARKDOWN.items() if n in table.column_names}
    if "rank" not in titles:
        titles = {n: n for n in table.column_names}
    lines = [list(titles.values()), ["---"] * len(titles)]
    lines += [[_cell(row[name]) for name in titles] for row in table.select(list(titles)).to_pylist()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    for special in "\\|<>&`*_[]":
        text = text.replace(special, f"\\{special}")
    return text.replace("\n", " ")


def _clean(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column made anew where it has NULLs: what lies below them in memory is different every time."""
    if not column.null_count and not pa.types.is_nested(column.type):
        return column
    return pa.chunked_array([pa.array(column.to_pylist(), column.type)], column.type)


def _without_zone(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us") if pa.types.is_timestamp(kind) else kind
