"""Server-sent events as the HTML standard has them: bytes in, the data of whole events out. Pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html (section 9.2.6): lines end with LF, CR or CRLF, a blank
line ends an event, several ``data:`` lines are one text, lines that begin with a colon are comments.
"""

from __future__ import annotations

EVENT_BYTES_AT_MOST = 1 << 24
BOM = b"\xef\xbb\xbf"


class BrokenStream(Exception):
    """What came is not a completions stream."""


class EventSplitter:
    """Splits one stream. ``feed`` is for every read but those that hold exactly one event, which need none of it."""

    __slots__ = ("_after_cr", "_begun", "_data", "_kind", "_rest", "idle")

    def __init__(self) -> None:
        self.idle = True
        """Whether the next byte begins an event."""
        self._rest = b""
        self._data: list[bytes] = []
        self._kind = b""
        self._after_cr = False
        self._begun = False

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Take what one read gave; return (type, data) of each event that it ends; the type is mostly empty.

        Raises BrokenStream where an event has no end.
        """
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = (self._rest + data).split(b"\n")
        events: list[tuple[bytes, bytes]] = []
        for line in lines:
            self._line(line, events)
        self.idle = not (self._rest or self._data or self._kind or self._after_cr)
        if len(self._rest) + sum(map(len, self._data)) > EVENT_BYTES_AT_MOST:
            raise BrokenStream(f"an event of more than {EVENT_BYTES_AT_MOST} bytes")
        return events

    def _line(self, line: bytes, events: list[tuple[bytes, bytes]]) -> None:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(BOM)
        if not line:
            data = b"\n".join(self._data)
            if data:
                events.append((self._kind, data))
            self._data, self._kind = [], b""
            return
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._kind = value.removeprefix(b" ")
        elif field == b"error":
            # No field of the standard: llama.cpp's server wrote errors this way.
            events.append((b"error", value.removeprefix(b" ")))
