"""One run of the load client against a scripted server: its rows, each beside what the server did for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from server_truth import Played, Truth

from joulemark.agents.client.conductor import Conductor
from joulemark.agents.client.job import Broken, ClientJob, Done
from joulemark.agents.clock import NodeClock
from joulemark.agents.spool.segment import read_segment
from joulemark.warehouse.schema import DATASETS
from joulemark.workloads.traffic import Tables, make_traffic
from joulemark.workloads.workload import Workload

THREE = Workload(7, 6, 3, seed=1)
"""Three streams; prompts of 7 tokens, answers of 6."""


def job(server, spool, workload=THREE, **changes) -> ClientJob:
    """Return a load of about a second and a half."""
    values = {
        "trial": "t",
        "node": "n",
        "clock": NodeClock.of_this_node(),
        "url": server.url,
        "model": "tiny",
        "spool": str(spool),
        "workload": workload,
        "vocab_size": 500,
        "prompt_seed": 2,
        "warmup_s": 0.2,
        "window_s": 1.0,
        "request_timeout_s": 5.0,
        "drain_s": 5.0,
        "body": {"temperature": 1.0},
        "fixed_length": {"ignore_eos": True},
    }
    return ClientJob(**{**values, **changes})


@dataclass(frozen=True)
class Pair:
    """A row, and what the server did for that request, every time that it came; instants in microseconds."""

    row: dict[str, Any]
    attempts: tuple[Played, ...]
    clock: NodeClock

    @property
    def played(self) -> Played:
        """What the server did, the last time that the request came."""
        return self.attempts[-1]

    @property
    def sent_us(self) -> int:
        """When it was sent, as the row says."""
        return us(self.row["sent_at"])

    @property
    def counts(self) -> list[int]:
        """Tokens of each chunk of the row."""
        return self.row["chunk_tokens"] or [1] * len(self.row["chunk_dt_us"])

    @property
    def arrivals_us(self) -> np.ndarray:
        """When each chunk of the row arrived."""
        return self.sent_us + np.cumsum(self.row["chunk_dt_us"], dtype=np.int64)

    @property
    def chunk_of_event(self) -> np.ndarray:
        """Return for each event that left the chunk of the row that holds it. Events are never torn apart."""
        ends, chunks = np.cumsum(self.played.events[1]), np.cumsum(self.counts)
        assert set(chunks) <= set(ends), (self.counts, self.played.events[1])
        return np.searchsorted(chunks, ends)

    @property
    def late_us(self) -> np.ndarray:
        """How long after it left each event was seen by the client."""
        left_us = np.array([self.clock.at_us(int(t)) for t in self.played.events[0]], dtype=np.int64)
        return self.arrivals_us[self.chunk_of_event] - left_us


@dataclass(frozen=True)
class Run:
    """What came of a run."""

    result: Done | Broken
    table: pa.Table
    pairs: tuple[Pair, ...]
    truth: Truth

    @property
    def ok(self) -> list[Pair]:
        """Whole answers."""
        return [p for p in self.pairs if p.row["status"] == "ok"]

    @property
    def late_us(self) -> np.ndarray:
        """How late the client was to see each event of the whole answers."""
        return np.concatenate([p.late_us for p in self.ok])


def us(instant) -> int:
    """Return microseconds since the epoch."""
    return round(instant.timestamp() * 1e6)


def rows_of(spool) -> pa.Table:
    """Return all rows that the client's processes wrote."""
    segments = [read_segment(s) for s in sorted(spool.glob("requests-*"))]
    return pa.concat_tables([DATASETS["requests"].arrow.empty_table(), *segments])


def run(server, spool, workload=THREE, **changes) -> Run:
    """Run the client to its end and pair its rows with the truth, by their prompts."""
    asked = job(server, spool, workload, **changes)
    result = Conductor.start(asked).result(lambda _: None)
    truth = server.truth()
    table = rows_of(spool)
    rows = sorted(table.to_pylist(), key=lambda r: r["request"])
    assert len(rows) == len({r["request"] for r in rows}), "a request has two rows"
    by_prompt: dict[tuple[int, ...], list[Played]] = {}
    for played in truth:
        by_prompt.setdefault(tuple(json.loads(played.body)["prompt"]), []).append(played)
    traffic = make_traffic(asked.workload, prompt_seed=asked.prompt_seed, vocab_size=asked.vocab_size, tables=Tables())
    pairs = []
    for row in rows:
        prompt = tuple(traffic.request(row["request"]).prompt)
        pairs.append(Pair(row, tuple(by_prompt.pop(prompt, ())), asked.clock))
    assert not by_prompt, "the server saw requests that have no row"
    return Run(result, table, tuple(pairs), truth)
