"""A trace that a sweep replays: its columns, its longest requests, and the part with the load asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import WindowPolicy
from joulemark.workloads.matrix.files import Files
from joulemark.workloads.sweep.workload_model import TraceAsk
from joulemark.workloads.traffic.lengths import Whole
from joulemark.workloads.traffic.trace import Rows, published_columns, rows_of, stretch_of_load
from joulemark.workloads.workload import Length, Trace

if TYPE_CHECKING:
    from joulemark.workloads.matrix.workload import Asked


@dataclass(frozen=True)
class Replayed:
    """A trace with all its rows."""

    trace: Trace
    rows: Rows
    ask: TraceAsk

    def length(self, key: str) -> Length:
        """Return the trace's own lengths, clipped as asked. Raises BadInput where it has none."""
        column, limit = (
            (self.rows.input, self.ask.max_input_tokens)
            if key == "input_tokens"
            else (self.rows.output, self.ask.max_output_tokens)
        )
        if column is None:
            side = key.removesuffix("_tokens")
            raise BadInput(f"the trace has no column of {key}: write columns: {{{side}: ...}}, or give {key}")
        longest = max(1, int(np.max(column)))
        return Length("trace", 1, longest if limit is None else min(limit, longest))

    def tokens(self, asked: Asked) -> Whole:
        """Return prompt and answer tokens of every row, clipped."""
        total = np.zeros(len(self.rows.time_ns), dtype=np.int64)
        for key, column in (("input_tokens", self.rows.input), ("output_tokens", self.rows.output)):
            fixed = asked.get(key)
            if fixed is None:
                assert column is not None
                own = self.length(key)
                total += np.clip(column, own.least, own.most)
            elif isinstance(fixed, int):
                total += fixed
            else:
                raise asked.error(key, f"a percentile needs the trace's lengths or fixed ones: leave {key} out")
        return total


def replayed(asked: Asked, window: WindowPolicy, files: Files) -> Replayed:
    """Return the trace that ``asked`` replays: of it, as much as warm-up and window take.

    Raises BadInput with its place where it is unfit or too short.
    """
    ask: TraceAsk = asked.get("trace")
    table = files.table(ask.file)
    with files.blamed(ask.file):
        whole = _columns(ask, table, files.digest(ask.file))
        found = Replayed(whole, rows_of(table, whole), ask)
        for key in ("input_tokens", "output_tokens"):
            if asked.get(key) is None and asked.get("prompts") is None:
                found.length(key)
        asked_s, lasts_s = window.warmup_s + window.window_s, found.rows.length_s(ask.speed)
        if lasts_s < asked_s:
            raise BadInput(
                f"the trace lasts {lasts_s:g} s at speed {ask.speed:g}, "
                f"less than warm-up and window together ({asked_s:g} s): lower the speed or the window"
            )
    load = asked.get("load")
    if load is None:
        return replace(found, trace=replace(whole, end_s=asked_s))
    begin_s, end_s = stretch_of_load(
        found.rows, found.tokens(asked), load.percentile, window.warmup_s, window.window_s, ask.speed
    )
    return replace(found, trace=replace(whole, begin_s=begin_s, end_s=end_s))


def _columns(ask: TraceAsk, table: Any, digest: str) -> Trace:
    if ask.columns:
        time, asked_in, asked_out = (ask.columns.get(key) for key in ("time", "input", "output"))
        assert time is not None
        return Trace(digest, time, asked_in, asked_out, ask.unit or "s", ask.speed)
    time, own_in, own_out, unit = published_columns(table.column_names)
    there = [name if name in table.column_names else None for name in (own_in, own_out)]
    return Trace(digest, time, there[0], there[1], ask.unit or unit, ask.speed)
