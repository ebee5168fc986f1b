"""A server that says exactly the bytes it is told to, on real sockets; and jobs for a client of it."""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from joulemark.agents.client.conductor import Conductor
from joulemark.agents.client.job import ClientJob
from joulemark.agents.clock import NodeClock
from joulemark.agents.spool.segment import read_segment
from joulemark.workloads.workload import Workload

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


@dataclass
class Asked:
    """One request as it came: ``number`` counts all, ``of_connection`` those of its connection."""

    number: int
    of_connection: int
    head: str
    body: dict
    at: float


def event(data):
    """One event as a chunk of its own."""
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return chunk(b"data: " + text + b"\n\n")


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def token(count, **more):
    return {"choices": [{"index": 0, "text": "x", **more}], "usage": {"prompt_tokens": 7, "completion_tokens": count}}


def final(count, **more):
    usage = {"prompt_tokens": 7, "completion_tokens": count, **more}
    return event({"choices": [], "usage": usage}) + event(b"[DONE]")


def whole(tokens=6):
    """A whole answer of so many tokens, two events."""
    return HEAD + event(token(1)) + event(token(tokens, finish_reason="length")) + final(tokens) + LAST


def reset(connection):
    """Make the close of a socket a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass
class RawServer:
    """``answer(connection, asked)`` writes to the socket; the connection is closed where it returns True."""

    answer: object
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    asked: list = field(default_factory=list)
    connections: int = 0

    def __enter__(self):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family, backlog=256)
        self.port = self._listener.getsockname()[1]
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{'https' if self.tls else 'http'}://{host}:{self.port}"
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with self._lock:
            self.connections += 1
        with contextlib.suppress(OSError, ssl.SSLError):
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            count = 0
            while (asked := self._read(connection, count)) is not None:
                count += 1
                if self.answer(connection, asked):
                    break
        with contextlib.suppress(OSError):
            connection.close()

    def _read(self, connection, count):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(1 << 16)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(1 << 16)
        with self._lock:
            asked = Asked(len(self.asked), count, head.decode(), json.loads(body), time.monotonic())
            self.asked.append(asked)
        return asked


def job(url, spool, workload=None, **changes):
    values = {
        "trial": "t",
        "node": "n",
        "clock": NodeClock.of_this_node(),
        "url": url,
        "model": "model",
        "spool": str(spool),
        "workload": workload or Workload(7, 6, 2),
        "vocab_size": 500,
        "prompt_seed": 2,
        "warmup_s": 0.2,
        "window_s": 0.5,
        "request_timeout_s": 5.0,
        "drain_s": 5.0,
        "body": {},
        "fixed_length": {"ignore_eos": True},
    }
    return ClientJob(**{**values, **changes})


def run(url, spool, workload=None, **changes):
    """Run a load; return its result and its rows in the order of their numbers."""
    result = Conductor.start(job(url, spool, workload, **changes)).result(lambda _: None)
    return result, rows_of(spool)


def rows_of(spool):
    rows = []
    for segment in Path(spool).glob("requests-*"):
        rows += read_segment(segment).to_pylist()
    return sorted(rows, key=lambda r: r["request"])


def us(instant):
    return round(instant.timestamp() * 1e6)
