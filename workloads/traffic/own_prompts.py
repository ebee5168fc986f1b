"""The user's own prompts: JSON lines with a prompt or chat messages each, cycled in a seeded order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.traffic.draws import Purpose, Seeds
from joulemark.workloads.traffic.request import Prompt, Request

BYTES_PER_TOKEN_AT_LEAST = 2
"""For an upper bound of a prompt's tokens: texts in European languages have about four bytes per token."""
TEMPLATE_TOKENS = 16
"""What a chat template may add per message, at most."""


@dataclass(frozen=True)
class OwnPrompt:
    """One line: the prompt, and how long its answer is to be where the line says so."""

    prompt: Prompt
    output_tokens: int | None

    @property
    def tokens_at_most(self) -> int:
        """What is taken as its length to make the engine ready: exact for token ids, else an estimate from above."""
        if isinstance(self.prompt, str):
            return len(self.prompt.encode()) // BYTES_PER_TOKEN_AT_LEAST + TEMPLATE_TOKENS
        return sum(
            1 if isinstance(part, int) else len(part["content"].encode()) // BYTES_PER_TOKEN_AT_LEAST + TEMPLATE_TOKENS
            for part in self.prompt
        )


def read_prompts(data: bytes) -> list[OwnPrompt]:
    """Return the prompts in JSON lines; empty lines are passed over. Raises BadInput with the line's number."""
    found = []
    for number, line in enumerate(data.splitlines(), start=1):
        if line.strip():
            try:
                found.append(_one(msgspec.json.decode(line)))
            except (msgspec.DecodeError, BadInput) as error:
                raise BadInput(f"line {number} of the prompts: {error}") from None
    if not found:
        raise BadInput("the file of prompts is empty")
    return found


@dataclass(frozen=True)
class OwnPrompts:
    """Requests from the user's prompts; each pass through them has an order of its own."""

    prompts: Sequence[OwnPrompt]
    output_tokens: int | None
    """For prompts that do not give their own."""
    seeds: Seeds
    fixed_length: bool
    _orders: dict[int, list[int]] = field(default_factory=dict)

    def request(self, number: int) -> Request:
        """Return request ``number``."""
        cycle, place = divmod(number, len(self.prompts))
        if cycle not in self._orders:
            if len(self._orders) > 3:
                self._orders.clear()
            order: list[int] = self.seeds.permutation(Purpose.ORDER, cycle, len(self.prompts)).tolist()
            self._orders[cycle] = order
        own = self.prompts[self._orders[cycle][place]]
        ids = isinstance(own.prompt, list) and isinstance(own.prompt[0], int)
        return Request(
            number=number,
            prompt=own.prompt,
            input_tokens=len(own.prompt) if ids else None,
            output_tokens=self._answer(own),
            fixed_length=self.fixed_length,
        )

    def _answer(self, own: OwnPrompt) -> int:
        length = self.output_tokens if own.output_tokens is None else own.output_tokens
        if length is None:
            raise BadInput("a line of the prompts gives no max_tokens, and the workload no output_tokens")
        return length

    def in_phase(self, phase: int) -> OwnPrompts:
        """Return the same prompts in another order."""
        return replace(self, seeds=replace(self.seeds, phase=phase), _orders={})


def _one(line: Any) -> OwnPrompt:
    if not isinstance(line, dict) or ("prompt" in line) == ("messages" in line):
        raise BadInput('write {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}')
    prompt = _prompt(line["prompt"]) if "prompt" in line else _messages(line["messages"])
    asked = [line[key] for key in ("max_tokens", "output_tokens") if line.get(key) is not None]
    if any(isinstance(a, bool) or not isinstance(a, int) or a < 1 for a in asked) or len(set(asked)) > 1:
        raise BadInput("max_tokens (or output_tokens) must be one whole number of at least 1")
    return OwnPrompt(prompt, asked[0] if asked else None)


def _prompt(value: Any) -> Prompt:
    if isinstance(value, str) and value:
        return value
    ids = isinstance(value, list) and value and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if not ids:
        raise BadInput("prompt must be a text that is not empty, or a list of token ids")
    return list(value)


def _messages(value: Any) -> Prompt:
    texts = isinstance(value, list) and all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in value
    )
    if not texts or not value:
        raise BadInput("messages must be a list of {role, content}, both texts")
    return [{"role": m["role"], "content": m["content"]} for m in value]
