"""All connections of one process to one server: made when they are needed, kept while they may be, never too many."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections import deque
from dataclasses import dataclass, field

from joulemark.agents.client.address import Address
from joulemark.agents.client.connection import Connection

FILES_KEPT_FREE = 64
CONNECT_TIMEOUT_S = 30.0

_Where = tuple[socket.AddressFamily, str]


@dataclass
class Connections:
    """``reuse`` is False for servers that close every connection after its answer, whatever they announce."""

    address: Address
    reuse: bool = True
    limit: int = 1 << 16
    made: int = 0
    _open: int = 0
    _idle: list[Connection] = field(default_factory=list)
    _waiting: deque[asyncio.Future[Connection | None]] = field(default_factory=deque)
    _context: ssl.SSLContext | None = None
    _where: list[str] = field(default_factory=list)

    async def prepare(self) -> None:
        """Look the server's name up, once. Raises OSError where nobody knows it."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_STREAM)
        self._where = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        self._context = self.address.context()

    async def get(self, *, fresh: bool = False) -> Connection:
        """Return a free connection, a new one where ``fresh``; waits while there are as many as allowed.

        Who waits longest is served first. Raises OSError where none can be made.
        """
        if not fresh and self._idle:
            return self._idle.pop()
        if self._open < self.limit:
            self._open += 1
        else:
            if self._idle:
                self._idle.pop(0).abort()
            given = await self._turn()
            while given is not None:
                if not fresh:
                    return given
                given.abort()
                given = await self._turn(first=True)
        try:
            return await self._connect()
        except BaseException:
            self._freed()
            raise

    def close(self) -> None:
        """Close those that are free."""
        while self._idle:
            self._idle.pop().abort()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        for number, where in enumerate(self._where):
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    _, connection = await loop.create_connection(
                        lambda: Connection(self._let_go),
                        where,
                        self.address.port,
                        ssl=self._context,
                        server_hostname=self.address.host if self._context else None,
                    )
            except TimeoutError:
                error: OSError = TimeoutError(f"no connection in {CONNECT_TIMEOUT_S:g} s")
            except OSError as problem:
                error = problem
            else:
                self.made += 1
                # The address that works is the first to be tried from now on.
                self._where = [where, *self._where[:number], *self._where[number + 1 :]]
                return connection
        raise error

    async def _turn(self, *, first: bool = False) -> Connection | None:
        """Wait for a connection that another has done with, or for leave (None) to make one in a lost one's place."""
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if first else self._waiting.append)(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on(turn.result())
            raise

    def _let_go(self, connection: Connection, usable: bool) -> None:
        if not usable:
            if connection in self._idle:
                self._idle.remove(connection)
            self._freed()
        elif not self.reuse:
            connection.abort()
        elif not self._hand(connection):
            self._idle.append(connection)

    def _pass_on(self, given: Connection | None) -> None:
        """Give what came too late for one who waited to the next."""
        if given is None:
            self._freed()
        elif not given.lost:
            self._let_go(given, True)

    def _freed(self) -> None:
        """One fewer is open, or its place goes to who waits."""
        if not self._hand(None):
            self._open -= 1

    def _hand(self, given: Connection | None) -> bool:
        """Give a connection or a place to who waits longest; return whether anybody does.

        It is theirs from here on: one who comes before they run again must not take it.
        """
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(given)
                return True
        return False


def files_allowed() -> int:
    """Raise this process's limit of open files as far as it goes; return how many connections that allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return (1 << 20) if soft == resource.RLIM_INFINITY else max(1, soft - FILES_KEPT_FREE)
