"""Events of the OpenAI completions and chat APIs: bytes in, counted tokens out. Pure.

A chunk is never called a token. What an event says about the count, best first: ``usage.completion_tokens``
(vLLM and SGLang with ``continuous_usage_stats``), ``timings.predicted_n`` (llama.cpp with ``timings_per_token``);
where it says neither, its tokens stay untimed until a later event or the final usage tells. The text is never decoded.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from joulemark.agents.client.sse import BrokenStream, EventSplitter

ERROR_KEPT = 500
GIVEN_UP = frozenset({"abort", "error"})
"""Reasons to finish that mean that the engine did not."""

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]


class _Details(msgspec.Struct, gc=False):
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    accepted_prediction_tokens: Count | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    reasoning_tokens: Count | None = None
    """SGLang's place for it."""


class _Timings(msgspec.Struct, gc=False):
    predicted_n: Count | None = None
    cache_n: Count | None = None
    draft_n_accepted: Count | None = None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class _Event(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    timings: _Timings | None = None
    error: Any = None
    object: str | None = None


_decode = msgspec.json.Decoder(_Event).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class StreamReader:
    """The state of one answer. ``seen`` counts the tokens that events have accounted for so far."""

    __slots__ = (
        "_between_events",
        "_splitter",
        "accepted_draft_tokens",
        "cached_tokens",
        "completion_tokens",
        "error",
        "finish_reason",
        "finished",
        "heard",
        "prompt_tokens",
        "reasoning_tokens",
        "seen",
        "went_back",
    )

    def __init__(self) -> None:
        self.seen = 0
        self.heard = False
        """Whether an event came."""
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.reasoning_tokens: int | None = None
        self.accepted_draft_tokens: int | None = None
        self.finish_reason: str | None = None
        self.error: str | None = None
        self.finished = False
        self.went_back: str | None = None
        """How the engine's count contradicted itself, where it did."""
        self._splitter = EventSplitter()
        self._between_events = True

    def feed(self, data: bytes) -> int:
        """Take what one read gave; return the number of tokens that it newly accounts for.

        Raises BrokenStream where an event cannot be parsed.
        """
        before = self.seen
        # Exactly one event on one line, as nearly every read is.
        if self._between_events and data[:7] == b"data: {" and data.find(b"\n") == len(data) - 2 and data[-1] == 10:
            try:
                event = _decode(data[6:-2])
            except _UNREADABLE as error:
                raise _broken(data) from error
            usage, choices = event.usage, event.choices
            # All that is new is the count, as in nearly every event: this is done for each, the rest seldom.
            if (
                usage is not None
                and choices
                and choices[0].finish_reason is None
                and self.completion_tokens is not None
                and (told := usage.completion_tokens) is not None
                and told >= self.completion_tokens == before
                and usage.prompt_tokens_details is None
                and usage.completion_tokens_details is None
                and event.timings is None
                and event.error is None
            ):
                self.completion_tokens = self.seen = told
                return told - before
            self._event(event, data)
        else:
            for kind, payload in self._splitter.feed(data):
                self._dispatch(kind, payload)
            self._between_events = self._splitter.idle and not self.finished
        return self.seen - before

    @property
    def untimed_tokens(self) -> int:
        """Tokens of the engine's final count that no event accounted for when it arrived."""
        return max(0, (self.completion_tokens or 0) - self.seen)

    def _dispatch(self, kind: bytes, payload: bytes) -> None:
        if kind == b"error":
            self.heard = True
            self.error = payload.decode(errors="replace")[:ERROR_KEPT]
        elif payload.strip() == b"[DONE]":
            self.finished = True
        else:
            try:
                event = _decode(payload)
            except _UNREADABLE as error:
                raise _broken(payload) from error
            self._event(event, payload)

    def _event(self, event: _Event, payload: bytes) -> None:
        if self.finished:
            return
        self.heard = True
        if event.error is not None or event.object == "error":
            self._note_error(event, payload)
        count = self._timings(event.timings) if event.timings is not None else None
        if event.usage is not None:
            told = self._usage(event.usage)
            # An event without choices only sums up: its tokens came before it.
            if event.choices and told is not None:
                count = told
        if count is not None and count > self.seen:
            self.seen = count
        if event.choices and event.choices[0].finish_reason:
            self.finish_reason = event.choices[0].finish_reason

    def _note_error(self, event: _Event, payload: bytes) -> None:
        said = payload if event.error is None else msgspec.json.encode(event.error)
        self.error = said.decode(errors="replace")[:ERROR_KEPT]

    def _timings(self, timings: _Timings) -> int | None:
        if timings.cache_n is not None:
            self.cached_tokens = timings.cache_n
        if timings.draft_n_accepted is not None:
            self.accepted_draft_tokens = timings.draft_n_accepted
        if timings.predicted_n is not None and timings.predicted_n < self.seen:
            self.went_back = f"the count of timings went back from {self.seen} to {timings.predicted_n}"
        return timings.predicted_n

    def _usage(self, usage: _Usage) -> int | None:
        told = usage.completion_tokens
        if told is not None:
            if self.completion_tokens is not None and told < self.completion_tokens:
                self.went_back = f"the usage count went back from {self.completion_tokens} to {told}"
            self.completion_tokens = told
        if usage.prompt_tokens is not None:
            self.prompt_tokens = usage.prompt_tokens
        if usage.reasoning_tokens is not None:
            self.reasoning_tokens = usage.reasoning_tokens
        details = usage.prompt_tokens_details
        if details is not None and details.cached_tokens is not None:
            self.cached_tokens = details.cached_tokens
        details = usage.completion_tokens_details
        if details is not None:
            if details.reasoning_tokens is not None:
                self.reasoning_tokens = details.reasoning_tokens
            if details.accepted_prediction_tokens is not None:
                self.accepted_draft_tokens = details.accepted_prediction_tokens
        return told


def _broken(payload: bytes) -> BrokenStream:
    return BrokenStream(f"not an event: {payload[:80]!r}")
