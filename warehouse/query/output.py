"""Write the rows of a query as a table for people, or as CSV, JSON or Parquet for programs."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.query.text import Column, fitted, lines

KINDS = ("table", "csv", "json", "parquet")
LARGE = 1e6
"""From here on, floats are shown without decimals."""
TERMINAL_ROWS = 200
"""More rows than this are cut on a terminal, and it says so; files and pipes get all."""


def write(table: pa.Table, kind: str, target: BinaryIO, *, width: int | None = None) -> None:
    """Write all rows to ``target`` as one of ``KINDS``.

    ``width`` is that of the terminal; None (a file or a pipe) means plain aligned text with every row and column.
    Raises BadInput for another kind.
    """
    if kind not in KINDS:
        raise BadInput(f"unknown output format {kind!r}; there are {', '.join(KINDS)}")
    if kind == "parquet":
        pq.write_table(table, target, compression="zstd")
    elif kind == "json":
        target.write(msgspec.json.format(_json(table), indent=1) + b"\n")
    elif kind == "csv":
        pacsv.write_csv(pa.table({n: _flat(table[n]) for n in table.column_names}), target)
    else:
        target.write(as_text(table, width).encode())


def as_text(table: pa.Table, width: int | None = None) -> str:
    """Return the rows as aligned text; on a terminal only what fits, with a line that says what was left out."""
    shown = table.slice(0, TERMINAL_ROWS) if width else table
    columns = [
        Column(name, [_cell(v) for v in shown[name].to_pylist()], _is_number(field.type))
        for name, field in zip(table.column_names, table.schema, strict=True)
    ]
    kept = fitted(columns, width)
    out = lines(kept, width)
    if len(kept) < len(columns):
        names = ", ".join(c.name for c in columns[len(kept) :])
        out.append(f"{len(columns) - len(kept)} more columns do not fit: {names}")
    if shown.num_rows < table.num_rows:
        out.append(f"{shown.num_rows} of {table.num_rows} rows; --csv, --json or a LIMIT of your own shows others")
    return "\n".join(out) + "\n"


def _json(table: pa.Table) -> bytes:
    return msgspec.json.Encoder(enc_hook=str, decimal_format="number").encode(table.to_pylist())


def _flat(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Return a column that CSV can hold: lists and structures as JSON, odd types as text."""
    kind = column.type
    if pa.types.is_nested(kind):
        encoder = msgspec.json.Encoder(enc_hook=str, decimal_format="number")
        texts = [None if v is None else encoder.encode(v).decode() for v in column.to_pylist()]
        return pa.array(texts, pa.string())
    plain = (pa.types.is_timestamp, pa.types.is_date, pa.types.is_time, pa.types.is_boolean, pa.types.is_string)
    if _is_number(kind) or any(fits(kind) for fits in plain):
        return column
    return pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.string())


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= LARGE else f"{value:.6g}"
    if isinstance(value, dt.datetime):
        return value.isoformat(" ").replace("+00:00", "Z")
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return ", ".join(value)
    if isinstance(value, list | dict):
        stream = io.StringIO()
        json.dump(value, stream, default=str)
        return stream.getvalue()
    return str(value).replace("\n", " ")
