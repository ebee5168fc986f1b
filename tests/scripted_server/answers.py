"""What the scripted server answers: tokens at instants, as the events that an engine streams, and the ways to fail.

An answer is composed into writes: so many bytes so long after the write before. Which write tells of which tokens is
known from here, so that a client can be held against it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, Self

Api = Literal["completions", "chat"]
ENDS = ("keep", "close", "reset", "stall")
END_OF_CHUNKS = b"0\r\n\r\n"


@dataclass(frozen=True)
class Step:
    """One event with tokens, so long after the one before; the first so long after the request was read.

    With ``after_s`` 0 it leaves in the same write as the one before. ``text`` is " x" for each token where not given.
    """

    after_s: float
    tokens: int = 1
    text: str | None = None


def steady(chunks: int, gap_s: float, *, ttft_s: float | None = None, tokens: int = 1) -> tuple[Step, ...]:
    """Return equal chunks at equal gaps; the first after ``ttft_s``, or after a gap."""
    first = Step(gap_s if ttft_s is None else ttft_s, tokens)
    return (first, *[Step(gap_s, tokens)] * (chunks - 1))


@dataclass(frozen=True)
class Write:
    """Bytes that leave together, so long after the write before was due."""

    delay_ns: int
    data: bytes


@dataclass(frozen=True)
class Composed:
    """An answer as writes. ``events`` holds (index of the write in which it is complete, tokens) of every step."""

    writes: tuple[Write, ...]
    events: tuple[tuple[int, int], ...]
    ends: str


@dataclass(frozen=True)
class Answer:
    """How one request is answered. Token counts are what the server *says*, true or not."""

    steps: tuple[Step, ...] = ()
    counts: Literal["usage", "timings", "none"] = "usage"
    """How an event says how many tokens there are so far: like vLLM, like llama.cpp, or not at all."""
    input_tokens: int = 7
    output_tokens: int | None = None
    """What the final usage says; None: the sum of the steps."""
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    """Also: so many of the first tokens come as reasoning, where the API is chat."""
    usage_more: Mapping[str, Any] = field(default_factory=dict)
    """Further members of every usage."""
    event_more: Mapping[str, Any] = field(default_factory=dict)
    """Further members of every event."""
    final_usage: bool = True
    finish_reason: str | None = "length"
    done: bool = True
    """Whether ``[DONE]`` is said."""
    tail_s: float = 0.0
    """From the last step to the final usage and ``[DONE]``; 0: they leave with the last step."""
    frames: Literal["event", "write"] = "event"
    """What an HTTP chunk holds."""
    cut_every: int | None = None
    """Split what leaves together into pieces of so many bytes, ``cut_gap_s`` apart."""
    cut_gap_s: float = 0.001
    stop_after: int | None = None
    """So many steps, then nothing more but ``last_words`` and the end of the answer."""
    last_words: bytes = b""
    last_raw: bytes = b""
    """Sent as it is, without a frame: what no HTTP client can read."""
    ends: Literal["keep", "close", "reset", "stall"] = "keep"
    """What becomes of the connection. One that stops and keeps it ended early, cleanly."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """A whole reply of a stated length, ``tail_s`` after the request, instead of a stream."""
    no_head: bool = False
    """Not even the status line is written: ``ends`` comes ``tail_s`` after the request."""
    wanted: int = 0
    """The ``max_tokens`` that it answers, where the server chooses by them."""

    @classmethod
    def refusal(cls, status: int, message: str = "scripted refusal", after_s: float = 0.0, **headers: str) -> Self:
        """Return an error reply; underscores in the names of headers stand for hyphens."""
        body = json.dumps({"error": {"message": message}}).encode()
        return cls(
            status=status, body=body, tail_s=after_s, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    @property
    def played(self) -> tuple[Step, ...]:
        """The steps that are really played."""
        return self.steps[: self.stop_after]

    @property
    def tokens(self) -> int:
        """Tokens of the steps that are really played."""
        return sum(s.tokens for s in self.played)

    @property
    def said_tokens(self) -> int:
        """What the final usage says."""
        return sum(s.tokens for s in self.steps) if self.output_tokens is None else self.output_tokens

    def composed(self, api: Api, model: str) -> Composed:
        """Return it as writes."""
        if self.ends not in ENDS:
            raise ValueError(f"an answer ends with one of {ENDS}, not {self.ends!r}")
        pieces: list[list[_Part]] = []
        for part in self._parts(api, model):
            if part.after_s > 0 or not pieces:
                pieces.append([])
            pieces[-1].append(part)
        writes: list[Write] = []
        events: list[tuple[int, int]] = []
        for together in pieces:
            self._cut(together, writes, events)
        return Composed(tuple(writes), tuple(events), self.ends)

    def _cut(self, together: Sequence[_Part], writes: list[Write], events: list[tuple[int, int]]) -> None:
        data, marks = b"", []
        for content, run in groupby(together, key=self._kept_together):
            parts = list(run)
            head = b"" if content is None else b"%x\r\n" % sum(len(p.data) for p in parts)
            data += head
            for part in parts:
                data += part.data
                if part.tokens is not None:
                    # Complete where its line is: the blank line after it tells nothing more.
                    marks.append((len(data) - 2, part.tokens))
            data += b"" if content is None else b"\r\n"
        every = self.cut_every or len(data) or 1
        first = len(writes)
        for at in range(0, len(data) or 1, every):
            delay_s = self.cut_gap_s if at else together[0].after_s
            writes.append(Write(round(delay_s * 1e9), data[at : at + every]))
        events += [(first + mark // every, tokens) for mark, tokens in marks]

    def _kept_together(self, part: _Part) -> object:
        """Return a key that is the same for neighbours in one HTTP chunk; None: in none."""
        if part.raw:
            return None
        return "write" if self.frames == "write" else id(part)

    def _parts(self, api: Api, model: str) -> Iterator[_Part]:
        if self.no_head:
            if self.tail_s:
                yield _Part(self.tail_s, raw=True)
            return
        if self.body is not None:
            yield _Part(self.tail_s, self._head({"Content-Length": str(len(self.body))}) + self.body, raw=True)
            return
        yield _Part(
            0.0,
            self._head({"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"}),
            raw=True,
        )
        events = _Events(self, api, model)
        for number, step in enumerate(self.played):
            yield _Part(step.after_s, events.step(number, step), tokens=step.tokens)
        if self.stop_after is None:
            tail = [events.usage()] * self.final_usage + [self.last_words] + [b"data: [DONE]\n\n"] * self.done
        else:
            tail = [self.last_words]
        after_s = self.tail_s
        for words in filter(None, tail):
            yield _Part(after_s, words)
            after_s = 0.0
        if self.last_raw:
            yield _Part(after_s, self.last_raw, raw=True)
        elif self.stop_after is None or self.ends == "keep":
            yield _Part(after_s, END_OF_CHUNKS, raw=True)

    def _head(self, more: Mapping[str, str]) -> bytes:
        headers = {"Server": "scripted", "Content-Type": "application/json", **more, **self.headers}
        lines = [f"HTTP/1.1 {self.status} Scripted", *[f"{k}: {v}" for k, v in headers.items()]]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass(frozen=True)
class _Part:
    """Bytes as they are, or the content of an HTTP chunk."""

    after_s: float
    data: bytes = b""
    tokens: int | None = None
    raw: bool = False


class _Events:
    """The events of one answer, in the words of the API."""

    def __init__(self, answer: Answer, api: Api, model: str) -> None:
        self.answer, self.api = answer, api
        kind = "chat.completion.chunk" if api == "chat" else "text_completion"
        self.base = {"id": "cmpl-5c7c0f1d9e0b4c8f", "object": kind, "created": 1_760_000_000, "model": model}
        self.seen = 0

    def step(self, number: int, step: Step) -> bytes:
        """Return the event of one step."""
        reasoning = self.answer.reasoning_tokens or 0
        self.seen += step.tokens
        text = " x" * step.tokens if step.text is None else step.text
        last = number + 1 == len(self.answer.steps)
        choice: dict[str, Any] = {"index": 0}
        if self.api == "chat":
            choice["delta"] = {"reasoning_content" if self.seen <= reasoning else "content": text}
            if number == 0:
                choice["delta"]["role"] = "assistant"
        else:
            choice["text"] = text
        choice |= {"logprobs": None, "finish_reason": self.answer.finish_reason if last else None, "stop_reason": None}
        event: dict[str, Any] = {**self.base, "choices": [choice]}
        if self.answer.counts == "usage":
            event["usage"] = self._usage(self.seen, min(self.seen, reasoning))
        elif self.answer.counts == "timings":
            event["timings"] = {"predicted_n": self.seen}
        return _event({**event, **self.answer.event_more})

    def usage(self) -> bytes:
        """Return the event that sums up."""
        usage = self._usage(self.answer.said_tokens, self.answer.reasoning_tokens or 0)
        return _event({**self.base, "choices": [], "usage": usage})

    def _usage(self, output_tokens: int, reasoning_tokens: int) -> dict[str, Any]:
        answer = self.answer
        usage: dict[str, Any] = {
            "prompt_tokens": answer.input_tokens,
            "total_tokens": answer.input_tokens + output_tokens,
            "completion_tokens": output_tokens,
        }
        if answer.cached_tokens is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": answer.cached_tokens}
        if answer.reasoning_tokens is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": reasoning_tokens}
        return {**usage, **answer.usage_more}


def _event(event: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
