"""One request of a traffic, before it is sent."""

from __future__ import annotations

from dataclasses import dataclass

Prompt = list[int] | str | list[dict[str, str]]
"""Token ids, a text, or chat messages."""


@dataclass(frozen=True)
class Request:
    """What to ask. ``number`` counts from 0 and is unique in the trial.

    ``input_tokens`` is None where only the engine can count (the user's own prompts). With ``fixed_length`` the engine
    must give exactly ``output_tokens``; without, the model ends its answer and ``output_tokens`` is the most.
    ``pause_s`` is not None where the conversation goes on: request ``number + 1`` is due this many seconds after this
    one's answer ended.
    """

    number: int
    prompt: Prompt
    input_tokens: int | None
    output_tokens: int
    fixed_length: bool
    pause_s: float | None = None
