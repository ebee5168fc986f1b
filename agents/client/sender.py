"""Sends requests and sees each answer to its end. Never raises for what the server does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from joulemark.agents.client.answer import Answer
from joulemark.agents.client.connections import Connections
from joulemark.workloads.traffic import Request

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
UNSENT = "not sent before the trial ended"
SWEEP_S, SWEEPS_TO_DIGEST = 0.1, 10
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Prepared:
    """A request, ready to be handed to a socket."""

    request: Request
    payload: bytes


@dataclass
class Sender:
    """``keep`` receives every answer when it has ended. ``pending`` are the others, also those not sent yet."""

    connections: Connections
    common: dict[str, Any]
    fixed_length: dict[str, Any]
    headers: dict[str, str]
    request_timeout_s: float
    stall_timeout_s: float
    keep: Callable[[Answer], None]
    pending: dict[Answer, asyncio.Task[Any]] = field(default_factory=dict)
    resent: int = 0
    _recalled: set[Answer] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._heads = {path: self.connections.address.head(path, self.headers) for path in (COMPLETIONS, CHAT)}

    def prepare(self, request: Request) -> Prepared:
        """Return the request as it goes over the wire."""
        chat = isinstance(request.prompt, list) and bool(request.prompt) and isinstance(request.prompt[0], dict)
        body = _encode(
            {
                "messages" if chat else "prompt": request.prompt,
                "max_tokens": request.output_tokens,
                **self.common,
                **(self.fixed_length if request.fixed_length else {}),
            }
        )
        return Prepared(request, b"%s%d\r\n\r\n%s" % (self._heads[CHAT if chat else COMPLETIONS], len(body), body))

    async def send(self, prepared: Prepared, scheduled_ns: int, *, owed: bool = False) -> Answer:
        """Send it now and return its answer, whatever became of it; ``recall`` ends it as ``cancelled``.

        One that could not even be sent is only kept where it is ``owed`` to a schedule.
        """
        answer = Answer(prepared.request, scheduled_ns)
        task = asyncio.current_task()
        assert task is not None
        self.pending[answer] = task
        try:
            await self._exchange(answer, prepared.payload)
        except asyncio.CancelledError:
            answer.fail("cancelled", "ended with the trial" if answer.sent_ns else UNSENT)
            if answer not in self._recalled:
                raise
            # It was this request that was called off, not the one who asked for it.
            task.uncancel()
        finally:
            del self.pending[answer]
            self._recalled.discard(answer)
            if owed or answer.sent_ns is not None or answer.status != "cancelled":
                self.keep(answer)
        return answer

    def give_up(self, prepared: Prepared, scheduled_ns: int) -> None:
        """Keep a request that was due and can no more be sent."""
        answer = Answer(prepared.request, scheduled_ns)
        answer.fail("cancelled", UNSENT)
        self.keep(answer)

    def recall(self, *, sent: bool = False) -> None:
        """Call off what waits to be sent; also what is in flight, where ``sent``."""
        for answer, task in list(self.pending.items()):
            if sent or answer.sent_ns is None:
                self._recalled.add(answer)
                task.cancel()

    @property
    def tokens(self) -> int:
        """Tokens received so far of answers that have not ended."""
        return sum(answer.reader.seen for answer in self.pending)

    async def sweep(self) -> None:
        """End answers that take too long, and look at what came of each once a second; until cancelled."""
        sweeps = 0
        while True:
            await asyncio.sleep(SWEEP_S)
            now_ns = time.monotonic_ns()
            sweeps += 1
            for number, answer in enumerate(list(self.pending)):
                if (number + sweeps) % SWEEPS_TO_DIGEST == 0:
                    answer.digest()
                late = self._too_late(answer, now_ns)
                if late is None:
                    continue
                answer.digest()
                if answer.reader.finished:
                    answer.end()
                else:
                    answer.fail("timeout", late)

    async def _exchange(self, answer: Answer, payload: bytes) -> None:
        while answer.status is None:
            try:
                connection = await self.connections.get(fresh=answer.resent)
            except OSError as error:
                answer.fail("broken", f"{type(error).__name__}: {error}")
                return
            reused = connection.used
            connection.send(answer, payload)
            try:
                await answer.ended
            finally:
                connection.drop(answer)
            if not (reused and answer.unheard and not answer.resent):
                return
            # The server had closed the connection that we kept: it never saw the request.
            self.resent += 1
            answer.again()

    def _too_late(self, answer: Answer, now_ns: int) -> str | None:
        if answer.sent_ns is None:
            return None
        if now_ns - answer.sent_ns > self.request_timeout_s * 1e9:
            return f"no whole answer in {self.request_timeout_s:g} s"
        if now_ns - (answer.now_ns or answer.sent_ns) > self.stall_timeout_s * 1e9:
            what = "nothing more" if answer.status_code else "nothing"
            return f"{what} came for {self.stall_timeout_s:g} s"
        return None
