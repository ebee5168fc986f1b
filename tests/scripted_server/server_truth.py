"""What the scripted server really did: for every request when it was read, and when each write left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from answers import Answer, Composed
from numpy.typing import NDArray
from script_file import Script

RECORD = np.dtype(
    [
        (name, np.int64)
        for name in (
            "began_ns",
            "read_ns",
            "started_ns",
            "ended_ns",
            "answer",
            "variant",
            "connection",
            "nth",
            "ended",
            "blocked",
            "written",
            "writes",
            "body_length",
        )
    ]
)
ENDED = ("still going", "as scripted", "client left")


@dataclass(frozen=True)
class Played:
    """One request as the server saw it. Instants are of the monotonic clock, in nanoseconds."""

    number: int
    """Its place in the order in which requests were read."""
    answer: Answer
    composed: Composed
    connection: int
    nth: int
    """Its place among the requests of its connection."""
    began_ns: int
    """The first byte of it was seen."""
    read_ns: int
    """It was read whole."""
    started_ns: int
    """It got its slot: what is scripted counts from here."""
    ended_ns: int
    ended: str
    blocked: int
    """How often its socket took no more, because the client did not read."""
    written_ns: NDArray[np.int64]
    """Of each write, just before the send that took its last byte."""
    body: bytes

    @cached_property
    def due_ns(self) -> NDArray[np.int64]:
        """When each write that was made was to be made."""
        delays = [w.delay_ns for w in self.composed.writes[: len(self.written_ns)]]
        return self.started_ns + np.cumsum(delays, dtype=np.int64)

    @property
    def late_ns(self) -> NDArray[np.int64]:
        """How late each write was."""
        return self.written_ns - self.due_ns

    @cached_property
    def events(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(instant, tokens) of every event with tokens that left whole."""
        left = [(self.written_ns[w], tokens) for w, tokens in self.composed.events if w < len(self.written_ns)]
        pairs = np.array(left, dtype=np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    @property
    def tokens(self) -> int:
        """Tokens of the events that left."""
        return int(self.events[1].sum())


@dataclass(frozen=True)
class Truth:
    """All requests, in the order in which they were read."""

    requests: tuple[Played, ...]

    def __iter__(self) -> Iterator[Played]:
        """Yield the requests."""
        return iter(self.requests)

    def __len__(self) -> int:
        """Return their number."""
        return len(self.requests)

    @property
    def late_ns(self) -> NDArray[np.int64]:
        """How late each write of all requests was."""
        return np.concatenate([np.zeros(0, np.int64), *[p.late_ns for p in self.requests]])

    @property
    def events(self) -> int:
        """Events with tokens that left, of all requests."""
        return sum(len(p.events[0]) for p in self.requests)


def read_truth(path: Path, script: Script) -> Truth:
    """Read what the server wrote while it played ``script``."""
    raw = path.read_bytes()
    count = int(np.frombuffer(raw, np.int64, 1)[0])
    records = np.frombuffer(raw, RECORD, count, 8)
    at = 8 + count * RECORD.itemsize
    instants = np.frombuffer(raw, np.int64, int(records["written"].sum()), at)
    at += instants.nbytes
    composed: dict[tuple[int, int], Composed] = {}
    requests, first = [], 0
    for number, record in enumerate(records):
        which = (int(record["answer"]), int(record["variant"]))
        if which not in composed:
            composed[which] = script.composed(*which)
        written, length = int(record["written"]), int(record["body_length"])
        requests.append(
            Played(
                number,
                script.answers[which[0]],
                composed[which],
                *[int(record[n]) for n in ("connection", "nth", "began_ns", "read_ns", "started_ns", "ended_ns")],
                ENDED[int(record["ended"])],
                int(record["blocked"]),
                instants[first : first + written],
                raw[at : at + length],
            )
        )
        first += written
        at += length
    return Truth(tuple(requests))
