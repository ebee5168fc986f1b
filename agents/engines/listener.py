"""Which process of this node listens at an address: what meters of processes can be pointed at."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

PROXIES = frozenset(
    {"docker-proxy", "rootlessport", "slirp4netns", "pasta", "nginx", "haproxy", "envoy", "traefik", "caddy", "ssh"}
    | {"sshd", "kubectl", "socat"}
)
"""Programs that only pass requests on: their own work is not the engine's."""


@dataclass(frozen=True)
class Listener:
    """A process with its program's name."""

    pid: int
    name: str


def listener_of(url: str) -> Listener | None:
    """Return the process that listens at ``url``; None where it is not on this node, is a proxy or cannot be seen.

    Of several (a server that forked its workers) it is the one above the others.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not parts.hostname or not _local(parts.hostname):
        return None
    pids = set()
    for connection in psutil.net_connections("tcp"):
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
            pids.add(connection.pid)
    tops = [pid for pid in pids if not pids & {p.pid for p in _parents(pid)}]
    if len(tops) != 1:
        return None
    try:
        name = psutil.Process(tops[0]).name()
    except psutil.Error:
        return None
    return None if name in PROXIES else Listener(tops[0], name)


def _parents(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).parents()
    except psutil.Error:
        return []


def _local(host: str) -> bool:
    """Return whether a name or address is this machine's own."""
    try:
        wanted = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    ours = {a.address.partition("%")[0] for addresses in psutil.net_if_addrs().values() for a in addresses}
    return bool(wanted) and all(a in ours or a.startswith("127.") or a == "::1" for a in wanted)
