"""What the simulated engine says to one request: events of OpenAI's APIs, or one document at the end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from joulemark.workloads.simulation.batching import Sequence

CHARACTERS_PER_TOKEN = 4
"""Where a prompt is text: nothing here has a tokenizer."""
MOST_TOKENS = 16
"""Answer length where none is asked for, as OpenAI's API has it."""
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class StreamOptions(msgspec.Struct, gc=False):
    """What a stream tells beside the tokens."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class Asked(msgspec.Struct, gc=False):
    """A request body, as far as it matters here."""

    prompt: Any = ""
    messages: list[dict[str, Any]] = []
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt: counted where it is tokens, else about."""
        prompt = self.prompt
        if isinstance(prompt, list) and prompt:
            if isinstance(prompt[0], int):
                return len(prompt)
            # A list of prompts: one is all that is ever sent.
            prompt = prompt[0]
            if isinstance(prompt, list):
                return len(prompt)
        text = str(prompt) + "".join(str(message.get("content", "")) for message in self.messages)
        return 1 + len(text) // CHARACTERS_PER_TOKEN

    @property
    def output_tokens(self) -> int:
        """Tokens of the answer: always as many as asked for at most."""
        return self.max_tokens or self.max_completion_tokens or MOST_TOKENS


@dataclass
class Answer:
    """One request's answer while it arises. ``sequence`` is the request in the engine."""

    transport: asyncio.Transport
    asked: Asked
    chat: bool
    sequence: Sequence
    tokens: int = 0
    ended: bool = False

    @classmethod
    def begin(cls, transport: asyncio.Transport, asked: Asked, *, chat: bool) -> Self:
        """Begin to answer: the head of a stream leaves at once, as engines send it."""
        answer = cls(transport, asked, chat, Sequence(asked.input_tokens, asked.output_tokens))
        answer.sequence.tag = answer
        return answer

    def token(self, *, last: bool) -> None:
        """Send one token, and the end after the last one."""
        self.tokens += 1
        self.ended = last
        if not self.asked.stream:
            if last:
                self.transport.write(document(200, msgspec.json.encode(self._whole())))
            return
        parts = [] if self.tokens > 1 else [STREAM_HEAD]
        parts.append(_chunk(self._event(last=last)))
        if last:
            options = self.asked.stream_options
            if options is not None and options.include_usage:
                parts.append(_chunk(b'{"choices":[],"usage":%b}' % self._usage()))
            parts += [_chunk(b"[DONE]"), END]
        self.transport.write(b"".join(parts))

    def _event(self, *, last: bool) -> bytes:
        said = b'"delta":{"content":" x"}' if self.chat else b'"text":" x"'
        options = self.asked.stream_options
        usage = b',"usage":' + self._usage() if options is not None and options.continuous_usage_stats else b""
        reason = b'"length"' if last else b"null"
        return b'{"choices":[{"index":0,%b,"finish_reason":%b}]%b}' % (said, reason, usage)

    def _usage(self) -> bytes:
        prompt = self.sequence.input_tokens
        return b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}' % (
            prompt,
            self.tokens,
            prompt + self.tokens,
        )

    def _whole(self) -> dict[str, Any]:
        text = " x" * self.tokens
        said = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        return {"choices": [{"index": 0, "finish_reason": "length", **said}], "usage": msgspec.Raw(self._usage())}


def document(status: int, body: bytes, kind: str = "application/json") -> bytes:
    """Return a whole answer."""
    word = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}[status]
    return f"HTTP/1.1 {status} {word}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def refusal(status: int, why: str) -> bytes:
    """Return an error as the OpenAI API has it."""
    return document(status, msgspec.json.encode({"error": {"message": why, "code": status}}))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data)
