"""Send one request, read its answer, and return its row of ``requests``. Never raises for what the server does."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from joulemark.agents.client.events import BrokenStream, StreamReader
from joulemark.agents.client.job import ClientJob
from joulemark.agents.clock import NodeClock


@dataclass(frozen=True)
class Ask:
    """One request to send."""

    number: int
    prompt: list[int]
    scheduled_ns: int


class TokenMeter:
    """Tokens received so far by all streams, for the progress line."""

    def __init__(self) -> None:
        self.tokens = 0


async def send(
    session: aiohttp.ClientSession, job: ClientJob, clock: NodeClock, ask: Ask, meter: TokenMeter
) -> dict[str, Any]:
    """Return the row of the request; its ``status`` says how it went. Cancellation ends it as ``cancelled``."""
    reader = StreamReader()
    gaps_us: list[int] = []
    counts: list[int] = []
    last_us = sent_us = clock.now_us()
    status, error = "ok", None
    try:
        async with asyncio.timeout(job.request_timeout_s):
            async with session.post("/v1/completions", data=_body(job, ask)) as answer:
                if answer.status != 200:
                    status, error = "failed", f"HTTP {answer.status}: {(await answer.text())[:500]}"
                async for data in _reads(answer, status):
                    now_us = clock.at_us(time.monotonic_ns())
                    tokens = reader.feed(data)
                    if tokens:
                        gaps_us.append(now_us - last_us)
                        counts.append(tokens)
                        last_us = now_us
                        meter.tokens += tokens
        if status == "ok":
            status, error = _verdict(reader)
    except TimeoutError:
        status, error = "timeout", f"no whole answer in {job.request_timeout_s:g} s"
    except asyncio.CancelledError:
        status, error = "cancelled", "ended with the trial"
    except (aiohttp.ClientError, BrokenStream, OSError) as problem:
        status, error = "broken", f"{type(problem).__name__}: {problem}"[:500]
    return {
        "trial": job.trial,
        "node": job.node,
        "request": ask.number,
        "scheduled_at": clock.at_us(ask.scheduled_ns),
        "sent_at": sent_us,
        "first_token_at": sent_us + gaps_us[0] if gaps_us else None,
        "last_token_at": sent_us + sum(gaps_us) if gaps_us else None,
        "ended_at": clock.now_us(),
        "asked_input_tokens": len(ask.prompt),
        "asked_output_tokens": job.output_tokens,
        "input_tokens": reader.prompt_tokens,
        "output_tokens": reader.completion_tokens,
        "cached_tokens": reader.cached_tokens,
        "untimed_tokens": reader.untimed_tokens,
        "status": status,
        "error": error,
        "chunk_dt_us": gaps_us,
        "chunk_tokens": None if all(c == 1 for c in counts) else counts,
    }


def _body(job: ClientJob, ask: Ask) -> bytes:
    return msgspec.json.encode(
        {
            "model": job.model,
            "prompt": ask.prompt,
            "max_tokens": job.output_tokens,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            **job.body,
        }
    )


async def _reads(answer: aiohttp.ClientResponse, status: str) -> Any:
    if status == "ok":
        async for data in answer.content.iter_any():
            yield data


def _verdict(reader: StreamReader) -> tuple[str, str | None]:
    if reader.error is not None:
        return "failed", reader.error
    if not reader.finished:
        return "broken", "the answer ended without [DONE]"
    if reader.completion_tokens is None:
        return "broken", "the engine gave no usage count"
    return "ok", None
