"""Small requests to engines on this node: never through a proxy, always with a deadline."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, timeout_s: float = 5.0, api_key: str | None = None) -> bytes | None:
    """Return the body of ``url``, or None where nobody answers with success in time."""
    request = urllib.request.Request(url)  # noqa: S310 -- always http:// to an engine that we started
    if api_key:
        request.add_header("Authorization", f"Bearer {api_key}")
    try:
        with _OPENER.open(request, timeout=timeout_s) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, OSError, ValueError):
        return None


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now. Someone may take it before the engine does: that start is retried."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
