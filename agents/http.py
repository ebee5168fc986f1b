"""Small requests to engines on this node: never through a proxy, always with a deadline."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

HTTP_REDIRECT = 300
PAIR_TRIES = 100
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    """What came of a request: its status (None where nobody answered, with why in ``error``) and body."""

    status: int | None
    body: bytes = b""
    error: str = ""

    def json(self) -> Any:
        """Return the document in the body; None where there is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def get(url: str, timeout_s: float = 5.0, api_key: str | None = None) -> bytes | None:
    """Return the body of ``url``, or None where nobody answers with success in time."""
    answer = ask(url, timeout_s, api_key)
    return answer.body if answer.status is not None and answer.status < HTTP_REDIRECT else None


def ask(url: str, timeout_s: float = 5.0, api_key: str | None = None) -> Answer:
    """Return the answer of ``url``, whatever it is."""
    request = urllib.request.Request(url)  # noqa: S310 -- always http(s):// to an engine, as the sweep file is checked for
    if api_key:
        request.add_header("Authorization", f"Bearer {api_key}")
    try:
        with _OPENER.open(request, timeout=timeout_s) as answer:
            return Answer(int(answer.status), bytes(answer.read()))
    except urllib.error.HTTPError as error:
        return Answer(error.code)
    except (urllib.error.URLError, OSError, ValueError) as error:
        return Answer(None, error=str(getattr(error, "reason", error)) or type(error).__name__)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now. Someone may take it before the engine does: that start is retried."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def free_port_pair() -> int:
    """Return a port that nobody listens on now on any address, nor on the one after it.

    Raises OSError where none was found in many tries.
    """
    for _ in range(PAIR_TRIES):
        with socket.socket() as one, socket.socket() as next_one:
            one.bind(("", 0))
            port = int(one.getsockname()[1])
            with suppress(OSError, OverflowError):
                next_one.bind(("", port + 1))
                return port
    raise OSError("no two free ports were found side by side")
