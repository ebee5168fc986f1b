"""Server-sent events of the OpenAI completions API: bytes in, counted tokens out. Pure.

A chunk is never called a token. What an event says about the count, best first: ``usage.completion_tokens``
(vLLM and SGLang with ``continuous_usage_stats``), ``timings.predicted_n`` (llama.cpp with ``timings_per_token``);
where it says neither, its tokens stay untimed until a later event or the final usage tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Timings(msgspec.Struct):
    predicted_n: int | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    timings: _Timings | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(_Event)


class BrokenStream(Exception):
    """What came is not a completions stream."""


@dataclass
class StreamReader:
    """The state of one answer. ``seen`` counts the tokens that events have accounted for so far."""

    seen: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    finish_reason: str | None = None
    error: str | None = None
    finished: bool = False
    _rest: bytes = b""

    def feed(self, data: bytes) -> int:
        """Take what one read gave; return the number of tokens that it newly accounts for.

        Raises BrokenStream where an event cannot be parsed.
        """
        before = self.seen
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip())
            elif line.startswith(b"error:"):
                self.error = line[6:].strip().decode(errors="replace")[:500]
        return self.seen - before

    @property
    def untimed_tokens(self) -> int:
        """Tokens of the engine's final count that no event accounted for when it arrived."""
        return max(0, (self.completion_tokens or 0) - self.seen)

    def _event(self, payload: bytes) -> None:
        if payload == b"[DONE]":
            self.finished = True
            return
        try:
            event = _DECODER.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BrokenStream(f"not an event: {payload[:80]!r}") from error
        if event.error is not None:
            self.error = msgspec.json.encode(event.error).decode()[:500]
        if event.choices and event.choices[0].finish_reason:
            self.finish_reason = event.choices[0].finish_reason
        count = event.timings.predicted_n if event.timings else None
        if event.usage is not None:
            count = self._usage(event, event.usage)
        if count is not None and count > self.seen:
            self.seen = count

    def _usage(self, event: _Event, usage: _Usage) -> int | None:
        """Keep what the usage says; return the tokens it times: an event without choices only sums up."""
        self.prompt_tokens = usage.prompt_tokens
        self.completion_tokens = usage.completion_tokens
        if usage.prompt_tokens_details is not None:
            self.cached_tokens = usage.prompt_tokens_details.cached_tokens
        return usage.completion_tokens if event.choices else None
