"""Prompts as token ids: exact lengths, unique by default, with shared prefixes and conversations where asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.traffic.draws import Purpose, Seeds
from joulemark.workloads.traffic.lengths import BLOCK, KEPT_BLOCKS, Lengths
from joulemark.workloads.traffic.request import Request
from joulemark.workloads.workload import Conversation, Prefix

FIRST_ORDINARY_ID = 3
"""Token ids below this one are special in the generated models, and in most others."""


def prompt_ids(
    workload_seed: int,
    trial_seed: int,
    request_index: int,
    length: int,
    vocab_size: int,
    first_id: int = FIRST_ORDINARY_ID,
) -> list[int]:
    """Return ``length`` token ids, uniform in ``[first_id, vocab_size)``, to be sent as a token-id prompt.

    The same arguments give the same prompt on every machine; any other seed or request gives an unrelated one, so that
    no two prompts share a prefix that an engine could have cached. Raises BadInput where there is no id to draw.
    """
    return _ids(Seeds(workload_seed, trial_seed), Purpose.PROMPT, request_index, length, vocab_size, first_id)


@dataclass(frozen=True)
class RandomPrompts:
    """Requests with random token ids.

    ``prefix`` is the beginning of the first prompt of a conversation; a prompt always keeps at least one token of its
    own. The prompt of a later turn is the former prompt, as many random ids as the former answer was asked to have, and
    the turn's own tokens: the model's own answer is not known beforehand.
    """

    lengths: Lengths
    seeds: Seeds
    vocab_size: int
    fixed_length: bool = True
    prefix: Prefix | None = None
    conversation: Conversation = field(default_factory=lambda: Conversation(1))
    _prefixes: dict[int, list[int]] = field(default_factory=dict)
    _groups: dict[int, list[int]] = field(default_factory=dict)

    def request(self, number: int) -> Request:
        """Return request ``number``; conversation i has the numbers from ``i * turns`` on."""
        talk, turn = divmod(number, self.conversation.turns)
        first = number - turn
        prompt: list[int] = []
        for part in range(first, number):
            prompt += self._own(talk, part, opening=part == first)
            prompt += self._draw(Purpose.ANSWER, part, self.lengths.of(part)[1])
        prompt += self._own(talk, number, opening=turn == 0)
        goes_on = turn + 1 < self.conversation.turns
        return Request(
            number=number,
            prompt=prompt,
            input_tokens=len(prompt),
            output_tokens=self.lengths.of(number)[1],
            fixed_length=self.fixed_length,
            pause_s=self.conversation.pause_s if goes_on else None,
        )

    def in_phase(self, phase: int) -> RandomPrompts:
        """Return the same lengths and shared prefixes, with other ids in all else."""
        return replace(self, seeds=replace(self.seeds, phase=phase))

    def _own(self, talk: int, number: int, *, opening: bool) -> list[int]:
        """Return what a turn adds to the prompt."""
        length = self.lengths.of(number)[0]
        if not opening or self.prefix is None:
            return self._draw(Purpose.PROMPT, number, length)
        shared = self._prefix(talk)[: length - 1]
        return shared + self._draw(Purpose.PROMPT, number, length - len(shared))

    def _prefix(self, talk: int) -> list[int]:
        assert self.prefix is not None
        group = self._group(talk)
        if group not in self._prefixes:
            seeds = replace(self.seeds, phase=0)
            self._prefixes[group] = _ids(seeds, Purpose.PREFIX, group, self.prefix.tokens, self.vocab_size)
        return self._prefixes[group]

    def _group(self, talk: int) -> int:
        """Return the group of a conversation; drawn for many at a time."""
        assert self.prefix is not None
        block, place = divmod(talk, BLOCK)
        if block not in self._groups:
            if len(self._groups) > KEPT_BLOCKS:
                self._groups.clear()
            seeds = replace(self.seeds, phase=0)
            self._groups[block] = seeds.whole(Purpose.GROUP, block, BLOCK, 0, self.prefix.groups).tolist()
        return self._groups[block][place]

    def _draw(self, purpose: Purpose, number: int, length: int) -> list[int]:
        return _ids(self.seeds, purpose, number, length, self.vocab_size)


def _ids(
    seeds: Seeds, purpose: Purpose, index: int, length: int, vocab_size: int, first_id: int = FIRST_ORDINARY_ID
) -> list[int]:
    if vocab_size <= first_id:
        raise BadInput(f"a vocabulary of {vocab_size} tokens has none from id {first_id} on")
    ids: list[int] = seeds.whole(purpose, index, length, first_id, vocab_size).tolist()
    return ids
