"""Recorded traces: rows of times and lengths, the part to be replayed, and the level of load in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.nearest import suggestion
from joulemark.workloads.traffic.arrivals import Replay
from joulemark.workloads.traffic.lengths import TraceLengths, Whole, clipped
from joulemark.workloads.traffic.tables import Tables, lengths_of, read_table, times_ns
from joulemark.workloads.workload import Length, Trace

PUBLISHED = (
    ("TIMESTAMP", "ContextTokens", "GeneratedTokens", "s"),  # Azure LLM inference traces of 2023 and 2024
    ("timestamp", "input_length", "output_length", "ms"),  # Mooncake
    ("Timestamp", "Request tokens", "Response tokens", "s"),  # BurstGPT
    ("time_s", "input_tokens", "output_tokens", "s"),  # joulemark's own words
)
"""Columns of published traces, known by the first one's name: time, prompt and answer length, unit of numeric times."""
_NS = 1_000_000_000


@dataclass(frozen=True)
class Rows:
    """A trace in the order of time. Times are nanoseconds since the first row; lengths are as recorded."""

    time_ns: npt.NDArray[np.int64]
    input: Whole | None
    output: Whole | None

    def length_s(self, speed: float) -> float:
        """Return how long the whole trace takes at ``speed``, in seconds."""
        return float(self.time_ns[-1]) / _NS / speed

    def part(self, trace: Trace) -> slice:
        """Return the rows that ``trace`` replays."""
        edges = [trace.begin_s, np.inf if trace.end_s is None else trace.end_s]
        first, last = np.searchsorted(self.time_ns / (_NS * trace.speed), edges)
        return slice(int(first), int(last))


def published_columns(names: list[str]) -> tuple[str, str, str, str]:
    """Return time, input and output column and unit of a trace as published. Raises BadInput where none is known."""
    for columns in PUBLISHED:
        if columns[0] in names:
            return columns
    known = ", ".join(c[0] for c in PUBLISHED)
    raise BadInput(
        f"none of its columns ({', '.join(names)}) is a time column that is known ({known}): "
        "write columns: {time: ..., input: ..., output: ...}"
    )


def read_trace(tables: Tables, trace: Trace) -> Rows:
    """Return all rows of the trace. Raises BadInput where a column is missing or unfit."""
    return rows_of(read_table(tables.content(trace.table)), trace)


def rows_of(table: Any, trace: Trace) -> Rows:
    """Return all rows of a table that is read already."""
    for name in (trace.time, trace.input, trace.output):
        if name is not None and name not in table.column_names:
            raise BadInput(f"there is no column {name!r}: {suggestion(name, table.column_names)}")
    times = times_ns(table, trace.time, trace.unit)
    order = np.argsort(times, kind="stable")
    columns = [None if n is None else lengths_of(table, n)[order] for n in (trace.input, trace.output)]
    return Rows(times[order], *columns)


def replay(rows: Rows, trace: Trace) -> Replay:
    """Return the schedule of the part that ``trace`` replays. Raises BadInput where it has no rows."""
    times = rows.time_ns[rows.part(trace)] / (_NS * trace.speed) - trace.begin_s
    if not len(times):
        raise BadInput("the part of the trace that is asked for has no requests")
    end_s = rows.length_s(trace.speed) if trace.end_s is None else trace.end_s
    return Replay(np.maximum(times, 0.0), end_s - trace.begin_s)


def trace_lengths(rows: Rows, trace: Trace, asked_in: int | Length, asked_out: int | Length) -> TraceLengths:
    """Return the lengths of the replayed part, clipped; where a length is not the trace's, the asked one is clipped."""
    part = rows.part(trace)
    columns = []
    for column, asked in ((rows.input, asked_in), (rows.output, asked_out)):
        if isinstance(asked, Length) and asked.kind == "trace":
            if column is None:
                raise BadInput("the trace has no column of these lengths: name it in its columns, or give the lengths")
            columns.append(clipped(column[part], asked))
        else:
            columns.append(np.zeros(part.stop - part.start, dtype=np.int64))
    return TraceLengths(columns[0], columns[1])


def stretch_of_load(
    rows: Rows, tokens: Whole, percentile: float, warmup_s: float, window_s: float, speed: float
) -> tuple[float, float]:
    """Return begin and end (seconds of replay) of warm-up and window whose offered load is at ``percentile``.

    A window may begin anywhere from ``warmup_s`` after the first request on, and ends with the trace at the latest. Its
    load is the ``tokens`` (one number per row) of all requests due in it, per second. The load of the window returned
    is the lowest that at least ``percentile`` % of all windows do not exceed; of those with this load it is the
    earliest. As a function of where the window begins, the load changes only where a request enters or leaves: all
    windows are looked at, none is sampled. Raises BadInput where the trace is too short.
    """
    length, lead = round(window_s * speed * _NS), round(warmup_s * speed * _NS)
    last = int(rows.time_ns[-1]) - length
    if last < lead:
        raise BadInput(
            f"the trace lasts {rows.length_s(speed):g} s at speed {speed:g}, "
            f"less than warm-up and window together ({warmup_s + window_s:g} s): lower the speed or the window"
        )
    changes = np.concatenate((rows.time_ns, rows.time_ns - length))
    inner = np.unique(changes[(changes > lead) & (changes < last)])
    edges = np.concatenate(([lead], inner, [last]))
    middles = (edges[:-1] + edges[1:]) / 2
    total = np.concatenate(([0], np.cumsum(tokens)))
    inside = total[np.searchsorted(rows.time_ns, middles + length)] - total[np.searchsorted(rows.time_ns, middles)]
    order = np.argsort(inside, kind="stable")
    share = np.cumsum(np.diff(edges)[order])
    place = int(np.searchsorted(share, percentile / 100 * share[-1] * (1 - 1e-12)))
    level = inside[order[min(place, len(order) - 1)]]
    begin = float(middles[int(np.argmax(inside == level))])
    begin_s = round(begin / (_NS * speed) - warmup_s, 6)
    return begin_s, round(begin_s + warmup_s + window_s, 6)
