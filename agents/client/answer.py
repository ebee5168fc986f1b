"""One request's answer while it arrives: HTTP's callbacks in, instants and tokens kept, and how it ended."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httptools

from joulemark.agents.client.events import ERROR_KEPT, GIVEN_UP, StreamReader
from joulemark.agents.client.sse import BrokenStream
from joulemark.workloads.traffic import Request

OK, FIRST_FINAL = 200, 200
BLANK_LINE = b"\n\n"
UNREAD_AT_MOST = 2 * 32
RESENT = "sent again: the kept connection had been closed"


class NotAsked(Exception):
    """The server sent more than the answer to its request."""


class Answer:
    """Filled by the HTTP parser, which calls its ``on_...`` methods; ``ended`` is set once, when nothing more comes.

    Instants are readings of ``time.monotonic_ns``. ``reads_ns`` holds those of the reads that brought tokens, ``seen``
    the tokens that were there after each.
    """

    __slots__ = (
        "_unread",
        "complete",
        "ended",
        "ended_ns",
        "error",
        "keep_alive",
        "length_known",
        "now_ns",
        "parser",
        "reader",
        "reads_ns",
        "request",
        "resent",
        "retry_after_s",
        "scheduled_ns",
        "seen",
        "sent_ns",
        "status",
        "status_code",
        "text",
    )

    def __init__(self, request: Request, scheduled_ns: int) -> None:
        self.request = request
        self.scheduled_ns = scheduled_ns
        self.sent_ns: int | None = None
        self.ended_ns = 0
        self.now_ns = 0
        self.reads_ns: list[int] = []
        self.seen: list[int] = []
        self.reader = StreamReader()
        self._unread: list[Any] = []
        self.status: str | None = None
        self.error: str | None = None
        self.status_code = 0
        self.retry_after_s: float | None = None
        self.length_known = False
        self.keep_alive = False
        self.complete = False
        self.parser: httptools.HttpResponseParser | None = None
        self.resent = False
        self.text = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # What the parser calls. Only ``on_body`` is called often.

    def on_message_begin(self) -> None:
        """Take it that a head begins. Raises NotAsked for one after the answer."""
        if self.complete:
            raise NotAsked
        self.length_known = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note what the answer's length depends on, and how long a refusal asks to wait."""
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self.length_known = True
        elif name == b"retry-after" and value.strip().isdigit():
            self.retry_after_s = float(value)

    def on_headers_complete(self) -> None:
        """Note the status, and whether the connection can carry another request."""
        assert self.parser is not None
        self.status_code = self.parser.get_status_code()
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Keep what was read, with its instant; what it says is looked at later, for many reads at a time.

        Reads come when caches hold something else: the less is done then, the less it costs, and the sooner the next is
        read.
        """
        unread = self._unread
        unread.append(self.now_ns)
        unread.append(body)
        if len(unread) >= UNREAD_AT_MOST:
            self.digest()

    def on_message_complete(self) -> None:
        """Take the end of the HTTP message, unless it only announced the answer."""
        self.complete = self.status_code >= FIRST_FINAL

    def digest(self) -> None:
        """Count the tokens of what was read."""
        if not self._unread:
            return
        pairs = iter(self._unread)
        self._unread = []
        reads_ns, seen, reader = self.reads_ns, self.seen, self.reader
        for now_ns, body in zip(pairs, pairs, strict=True):
            if self.status_code != OK or not reader.heard:
                self.text = (self.text + body)[:ERROR_KEPT]
            if self.status_code != OK:
                continue
            try:
                tokens = reader.feed(body)
            except BrokenStream as error:
                self.fail("broken", str(error))
                return
            # What one read brought is one chunk, however many events it held.
            if tokens and reads_ns and reads_ns[-1] == now_ns:
                seen[-1] = reader.seen
            elif tokens:
                reads_ns.append(now_ns)
                seen.append(reader.seen)

    # How it ends.

    def end(self) -> None:
        """The answer is whole as far as HTTP knows: say how it went."""
        self.digest()
        if self.status is not None:
            return
        if self.status_code != OK:
            said = self.text.decode(errors="replace").strip()
            self.fail("failed", f"HTTP {self.status_code}: {said}" if said else f"HTTP {self.status_code}")
            return
        # An event that lacks its blank line at the end counts, though the standard would drop it.
        self.on_body(BLANK_LINE)
        self.digest()
        if self.status is None:
            self._settle(*self._verdict())

    def lost(self, error: BaseException | None) -> None:
        """Take the end of the connection before that of the HTTP message."""
        self.digest()
        refused = self.status_code >= FIRST_FINAL and self.status_code != OK
        until_eof = self.status_code == OK and not self.length_known and error is None
        if refused or until_eof or self.reader.finished:
            self.end()
        else:
            how = f"{type(error).__name__}: {error}" if error is not None else "the server closed the connection"
            self.fail("broken", f"{how} ({self._progress()})")

    @property
    def unheard(self) -> bool:
        """Whether the connection was lost before a byte of the answer came."""
        return self.status == "broken" and not self.now_ns

    def again(self) -> None:
        """Begin anew, to be sent a second time; the instant of the first stays."""
        self.resent = True
        self.status = self.error = None
        self.ended = asyncio.get_running_loop().create_future()

    def fail(self, status: str, error: str) -> None:
        """End it with ``status``; what came until now is kept."""
        self.digest()
        self._settle(status, error[:ERROR_KEPT])

    def _settle(self, status: str, error: str | None) -> None:
        if self.status is not None:
            return
        self.status, self.error = status, error
        self.ended_ns = time.monotonic_ns()
        self.parser = None
        if not self.ended.done():
            self.ended.set_result(None)

    def _verdict(self) -> tuple[str, str | None]:
        reader = self.reader
        if reader.error is not None:
            return "failed", reader.error
        if reader.finish_reason in GIVEN_UP:
            return "failed", f"the engine ended it: {reader.finish_reason}"
        if not reader.finished:
            return "broken", f"the answer ended without [DONE] ({self._progress()})"
        if reader.completion_tokens is None:
            return "broken", "the engine gave no usage count"
        asked = self.request.output_tokens
        if self.request.fixed_length and reader.completion_tokens < asked:
            why = f", finish reason {reader.finish_reason}" if reader.finish_reason else ""
            return "truncated", f"{reader.completion_tokens} of {asked} tokens{why}"
        return "ok", reader.went_back or (RESENT if self.resent else None)

    def _progress(self) -> str:
        if not self.status_code:
            return "before any answer"
        if not self.reader.heard:
            return f"no event came, only {self.text[:80]!r}" if self.text else "no event came"
        return f"after {self.reader.seen} tokens"
