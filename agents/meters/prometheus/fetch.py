"""One scrape: a GET with a deadline for all of it, and the instants before and after."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from joulemark.warehouse.errors import MeterError

LARGEST_BYTES = 16 << 20
HEADERS = {"Accept": "text/plain;version=0.0.4", "User-Agent": "joulemark"}


@dataclass(frozen=True)
class Page:
    """What an exporter answered, between two instants of ``time.monotonic_ns()``."""

    body: bytes
    before_ns: int
    after_ns: int

    @property
    def midpoint_ns(self) -> int:
        """The instant that the numbers are taken to be of."""
        return (self.before_ns + self.after_ns) // 2


def fetch(url: str, timeout_s: float) -> Page:
    """Return the page at ``url``; redirects and proxies are not followed.

    Raises MeterError with the reason where there is no page with success within ``timeout_s``.
    """
    before_ns = time.monotonic_ns()
    over = threading.Event()
    try:
        body = _get(url, timeout_s, over)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = f"no answer in {timeout_s:g} s" if over.is_set() or isinstance(error, TimeoutError) else _said(error)
        raise MeterError(f"{url}: {why}") from error
    after_ns = time.monotonic_ns()
    if over.is_set():
        raise MeterError(f"{url}: no answer in {timeout_s:g} s")
    return Page(body, before_ns, after_ns)


def _get(url: str, timeout_s: float, over: threading.Event) -> bytes:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    connection.connect()
    # A timeout of a socket counts anew with every byte that arrives; this one does not.
    timer = threading.Timer(timeout_s, _end, (connection.sock, over))
    timer.daemon = True
    timer.start()
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", headers=HEADERS)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            moved = f", moved to {answer.headers['Location']}" if answer.headers["Location"] else ""
            raise ValueError(f"answered {answer.status} {answer.reason}{moved}".strip())
        body = answer.read(LARGEST_BYTES + 1)
        left = answer.length or 0
    finally:
        timer.cancel()
        connection.close()
    if len(body) > LARGEST_BYTES:
        raise ValueError(f"the page is longer than {LARGEST_BYTES >> 20} MiB")
    if left:
        raise ValueError(f"the page was cut: {left} bytes of it are missing")
    return body


def _end(connection: socket.socket, over: threading.Event) -> None:
    over.set()
    with suppress(OSError):  # it has just ended by itself
        connection.shutdown(socket.SHUT_RDWR)


def _said(error: Exception) -> str:
    """Return what an error says on one line."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split())
