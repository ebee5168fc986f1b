"""One HTTP/1.1 connection on the event loop: writes a request, reads its answer, notes when each read came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast

import httptools

from joulemark.agents.client.answer import Answer

WRITE_BYTES = 1 << 18
"""A prompt is handed to the socket in pieces of this size, each once the one before is on its way."""


class Connection(asyncio.Protocol):
    """A connection carries one request at a time. ``let_go`` is called when it is free again or gone."""

    __slots__ = (
        "_answer",
        "_clock",
        "_let_go",
        "_parser",
        "_rest",
        "_writable",
        "transport",
        "used",
    )

    def __init__(self, let_go: Callable[[Connection, bool], None]) -> None:
        self._let_go = let_go
        self._clock = time.monotonic_ns
        self._answer: Answer | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._rest = memoryview(b"")
        self._writable = True
        self.transport: asyncio.Transport | None = None
        self.used = False
        """Whether a request was answered on it before."""

    @property
    def lost(self) -> bool:
        """Whether it is closed, or is being closed."""
        return self.transport is None or self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def send(self, answer: Answer, payload: bytes) -> None:
        """Hand a request to the socket; ``answer`` will be told all that comes."""
        assert self.transport is not None
        self._answer = answer
        self._parser = answer.parser = httptools.HttpResponseParser(answer)
        now_ns = self._clock()
        if answer.sent_ns is None:
            answer.sent_ns = now_ns
        if self.transport.is_closing():
            self._answer = None
            answer.lost(None)
            return
        self._rest = memoryview(payload)
        self._write()

    def data_received(self, data: bytes) -> None:
        """Take one read: this is when what is in it arrived."""
        answer = self._answer
        if answer is None:
            # Nothing was asked.
            self.abort()
            return
        answer.now_ns = self._clock()
        try:
            self._parser.feed_data(data)  # type: ignore[union-attr]
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # What follows a whole answer does not spoil it, only the connection.
            answer.keep_alive = False
            if not answer.complete:
                answer.fail("broken", f"not HTTP: {error}: {data[:80]!r}")
        if answer.complete or answer.status is not None:
            self._over(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.lost(exc)
        self._let_go(self, False)

    def pause_writing(self) -> None:
        """The server does not read as fast as we write."""
        self._writable = False

    def resume_writing(self) -> None:
        """It does again."""
        self._writable = True
        self._write()

    def drop(self, answer: Answer) -> None:
        """Close it if it still works on ``answer``, of which no more is wanted."""
        if self._answer is answer:
            self.abort()

    def abort(self) -> None:
        """Close it now; an answer that was to come is left alone."""
        self._answer = None
        if self.transport is not None:
            self.transport.abort()

    def _write(self) -> None:
        transport = self.transport
        assert transport is not None
        while self._rest and self._writable and not transport.is_closing():
            piece, self._rest = self._rest[:WRITE_BYTES], self._rest[WRITE_BYTES:]
            transport.write(piece)

    def _over(self, answer: Answer) -> None:
        """End the answer, and keep the connection where HTTP and the answer allow it."""
        assert self.transport is not None
        self._answer = None
        keep = (
            answer.complete
            and answer.status is None
            and answer.keep_alive
            and not self._rest
            and not self.transport.get_write_buffer_size()
            and not self.transport.is_closing()
        )
        answer.end()
        self.used = True
        if keep:
            self._let_go(self, True)
        else:
            self.transport.abort()
