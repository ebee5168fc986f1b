"""Continuous batching as serving engines do it: at every step, all running requests and as much prompt as fits.

Requests are taken in the order in which they came, each when the KV cache has room for its prompt and half of its
answer, which is what it holds on average. None is ever put back: engines do that where many are at their end at once.
Prompts are worked on in chunks beside the running requests (Agrawal et al. 2024, "Sarathi-Serve").
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from joulemark.workloads.simulation.machine import Load, Machine


class Sequence:
    """One request in the engine; ``begun`` is the step that gave its first token, None before."""

    __slots__ = ("begun", "input_tokens", "output_tokens", "prefilled", "tag")

    def __init__(self, input_tokens: int, output_tokens: int, tag: object = None) -> None:
        self.input_tokens = max(1, input_tokens)
        self.output_tokens = max(1, output_tokens)
        self.tag = tag
        self.prefilled = 0
        self.begun: int | None = None

    @property
    def tokens(self) -> int:
        """Prompt and answer."""
        return self.input_tokens + self.output_tokens

    @property
    def held_tokens(self) -> int:
        """What it holds of the KV cache on average."""
        return self.input_tokens + (self.output_tokens + 1) // 2


@dataclass(frozen=True)
class Step:
    """A step that was planned: its load, and the requests whose prompts end in it."""

    number: int
    load: Load
    starting: tuple[Sequence, ...]


@dataclass
class Batcher:
    """The engine's queue and batch. ``plan`` a step, then ``finish`` it; what comes meanwhile waits for the next."""

    machine: Machine
    slots: int
    waiting: deque[Sequence] = field(default_factory=deque)
    running: dict[Sequence, None] = field(default_factory=dict)
    """Requests that get a token at every step, in the order in which they came to that."""
    steps: int = 0
    _prefilling: deque[Sequence] = field(default_factory=deque)
    _seen: int = 0
    _held_tokens: int = 0
    _ends: list[tuple[int, int, Sequence]] = field(default_factory=list)
    _order: int = 0

    def add(self, sequence: Sequence) -> bool:
        """Take a request; return whether it can ever be worked on."""
        if sequence.tokens > self.machine.kv_tokens:
            return False
        self.waiting.append(sequence)
        return True

    def drop(self, sequence: Sequence) -> None:
        """Forget a request whose client has gone, wherever it is."""
        if sequence in self.running:
            assert sequence.begun is not None
            self._seen -= sequence.input_tokens + self.steps - sequence.begun
            del self.running[sequence]
            self._held_tokens -= sequence.held_tokens
        elif sequence in self._prefilling:
            self._prefilling.remove(sequence)
            self._held_tokens -= sequence.held_tokens
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    @property
    def active(self) -> int:
        """Requests that are being worked on."""
        return len(self.running) + len(self._prefilling)

    @property
    def cache_usage(self) -> float:
        """Share of the KV cache that is taken, 0 to 1."""
        return self._held_tokens / self.machine.kv_tokens

    def plan(self) -> Step | None:
        """Return the next step, None where there is nothing to do."""
        self._admit()
        decoding = len(self.running)
        left = self.machine.batched_tokens - decoding
        prompt = seen = 0
        starting = []
        for sequence in self._prefilling:
            if left <= 0:
                break
            chunk = min(left, sequence.input_tokens - sequence.prefilled)
            # Its tokens see what was before the chunk, and half of the chunk.
            seen += chunk * sequence.prefilled + chunk * (chunk + 1) // 2
            sequence.prefilled += chunk
            prompt += chunk
            left -= chunk
            if sequence.prefilled == sequence.input_tokens:
                starting.append(sequence)
        if not decoding and not prompt:
            return None
        load = Load(decoding, self._seen + decoding, prompt, seen, decoding + len(starting))
        return Step(self.steps, load, tuple(starting))

    def finish(self, step: Step) -> list[Sequence]:
        """Take the step as done: every running request has one token more. Return those that have all of theirs."""
        self.steps += 1
        self._seen += len(self.running)
        for sequence in step.starting:
            if sequence not in self._prefilling:
                # It was dropped during the step.
                continue
            self._prefilling.remove(sequence)
            sequence.begun = self.steps
            self.running[sequence] = None
            self._seen += sequence.input_tokens
            self._order += 1
            heapq.heappush(self._ends, (self.steps + sequence.output_tokens - 1, self._order, sequence))
        ended = []
        while self._ends and self._ends[0][0] <= self.steps:
            sequence = heapq.heappop(self._ends)[2]
            if sequence in self.running:
                self.drop(sequence)
                ended.append(sequence)
        return ended

    def _admit(self) -> None:
        room = self.machine.kv_tokens
        while self.waiting and self.active < self.slots:
            sequence = self.waiting[0]
            if self._held_tokens + sequence.held_tokens > room:
                return
            self.waiting.popleft()
            self._held_tokens += sequence.held_tokens
            self._prefilling.append(sequence)
