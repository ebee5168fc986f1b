"""Answers as rows of ``requests``, made column by column: rows as mappings would cost more than the requests."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from joulemark.agents.client.answer import Answer
from joulemark.agents.clock import NodeClock
from joulemark.warehouse.schema.traces import REQUESTS
from joulemark.warehouse.units import NS_PER_US

_LISTS = ("chunk_dt_us", "chunk_tokens")


@dataclass
class RequestRows:
    """Collects rows until they are taken as one batch."""

    trial: str
    node: str
    clock: NodeClock
    _rows: list[tuple[Any, ...]] = field(default_factory=list)
    _reads_ns: array[int] = field(default_factory=lambda: array("q"))
    _seen: array[int] = field(default_factory=lambda: array("i"))

    def add(self, answer: Answer, number: int) -> None:
        """Take one answer that has ended, as request ``number``."""
        reader, request, at_us = answer.reader, answer.request, self.clock.at_us
        reads = answer.reads_ns
        self._reads_ns.extend(reads)
        self._seen.extend(answer.seen)
        ended_us = at_us(answer.ended_ns)
        self._rows.append(
            (
                self.trial,
                self.node,
                number,
                at_us(answer.scheduled_ns),
                at_us(answer.sent_ns) if answer.sent_ns is not None else ended_us,
                at_us(reads[0]) if reads else None,
                at_us(reads[-1]) if reads else None,
                ended_us,
                request.input_tokens,
                request.output_tokens,
                reader.prompt_tokens,
                reader.completion_tokens,
                reader.cached_tokens,
                reader.reasoning_tokens,
                reader.accepted_draft_tokens,
                reader.untimed_tokens,
                reader.finish_reason,
                answer.status,
                answer.error,
                len(reads),
            )
        )

    def example(self) -> pa.RecordBatch:
        """Return a batch of one made-up row: the first of a process takes a tenth of a second and more to make."""
        rows = RequestRows(self.trial, self.node, self.clock)
        rows._rows.append((self.trial, self.node, 0, *(self.clock.at_us(0),) * 5, *(1,) * 8, "stop", "ok", "", 2))
        rows._reads_ns.extend((NS_PER_US, 2 * NS_PER_US))
        rows._seen.extend((1, 3))
        batch = rows.take()
        assert batch is not None
        return batch

    def take(self) -> pa.RecordBatch | None:
        """Return what was collected as one batch, None where that is nothing."""
        if not self._rows:
            return None
        *columns, chunks = zip(*self._rows, strict=True)
        lengths = np.array(chunks, dtype=np.int64)
        sent_us = np.array(columns[_COLUMNS.index("sent_at")], dtype=np.int64)
        values = dict(zip(_COLUMNS, columns, strict=True)) | self._chunks(lengths, sent_us)
        self._rows, self._reads_ns, self._seen = [], array("q"), array("i")
        arrays = [v if isinstance(v := values[f.name], pa.Array) else pa.array(v, f.type) for f in REQUESTS.arrow]
        return pa.RecordBatch.from_arrays(arrays, schema=REQUESTS.arrow)

    def _chunks(self, lengths: Any, sent_us: Any) -> dict[str, pa.Array]:
        """Return the lists of gaps and of tokens: differences of the instants and of the tokens seen."""
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        first = offsets[:-1][lengths > 0]
        shift_ns = self.clock.wall_ns - self.clock.monotonic_ns
        reads_us = (np.frombuffer(self._reads_ns, dtype=np.int64) + shift_ns) // NS_PER_US
        gaps = np.diff(reads_us, prepend=0)
        gaps[first] = reads_us[first] - sent_us[lengths > 0]
        seen = np.frombuffer(self._seen, dtype=np.int32)
        tokens = np.diff(seen, prepend=np.int32(0))
        tokens[first] = seen[first]
        others = np.concatenate(([0], np.cumsum(tokens != 1)))
        told = others[offsets[1:]] > others[offsets[:-1]]
        told_offsets = np.concatenate(([0], np.cumsum(lengths * told)))
        return {
            "chunk_dt_us": _lists(offsets, gaps),
            "chunk_tokens": _lists(told_offsets, tokens[np.repeat(told, lengths)], ~told),
        }


def _lists(offsets: Any, values: Any, missing: Any = None) -> pa.Array:
    mask = None if missing is None else pa.array(missing)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, pa.int32()), mask=mask)


_COLUMNS = (
    "trial",
    "node",
    "request",
    "scheduled_at",
    "sent_at",
    "first_token_at",
    "last_token_at",
    "ended_at",
    "asked_input_tokens",
    "asked_output_tokens",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "accepted_draft_tokens",
    "untimed_tokens",
    "finish_reason",
    "status",
    "error",
)
"""What a collected row holds, in its order; the last is followed by the number of its chunks."""
