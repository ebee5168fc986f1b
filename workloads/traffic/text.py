"""Text of an exact length in tokens, for servers that take no token ids.

The text is made of words that are one token each, which a count by the tokenizer itself confirms. It needs the library
``tokenizers``, which is not among joulemark's own requirements.
"""

from __future__ import annotations

import re
from collections.abc import Sized
from dataclasses import dataclass, field, replace
from typing import Protocol

from joulemark.warehouse.errors import BadInput, MissingTool
from joulemark.workloads.traffic.draws import Purpose, Seeds
from joulemark.workloads.traffic.lengths import Lengths
from joulemark.workloads.traffic.request import Request

TRIES = 20
_WORD = re.compile(r"[Ġ▁]?([a-z]{2,})")
"""Tokens that are whole words: with the mark of a space before them in byte-level and in SentencePiece vocabularies."""


class Encoding(Protocol):
    """What a tokenizer makes of a text."""

    @property
    def ids(self) -> Sized:
        """The tokens."""


class Tokenizer(Protocol):
    """What is needed of ``tokenizers.Tokenizer``."""

    def get_vocab(self) -> dict[str, int]:
        """Return token to id."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> Encoding:
        """Return the tokens of a text."""


def load_tokenizer(data: bytes) -> Tokenizer:
    """Return the tokenizer that a ``tokenizer.json`` holds. Raises MissingTool without the library, else BadInput."""
    try:
        from tokenizers import Tokenizer as Library
    except ImportError:
        raise MissingTool("texts of exact length need the library tokenizers: pip install tokenizers") from None
    try:
        found: Tokenizer = Library.from_buffer(data)
    except Exception as error:  # noqa: BLE001 -- the library raises nothing more exact
        raise BadInput(f"it is no tokenizer.json: {error}") from None
    return found


@dataclass
class ExactText:
    """Texts for one tokenizer. With ``special_tokens`` those that it adds by itself count too, as in a server."""

    tokenizer: Tokenizer
    special_tokens: bool = True
    _words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find the words that are one token each."""
        found = {match[1] for token in self.tokenizer.get_vocab() if (match := _WORD.fullmatch(token))}
        single = [w for w in sorted(found) if self._count(f" {w} {w}", special=False) == 2]
        self._words = single or sorted(found)
        if not self._words:
            raise BadInput("the tokenizer has no words that text could be made of")

    def text(self, tokens: int, seeds: Seeds, index: int) -> str:
        """Return a text of exactly ``tokens`` tokens, another for every ``index``. Raises BadInput if none is found."""
        for attempt in range(TRIES):
            # More than are needed: words may run together at places.
            drawn = seeds.whole(Purpose.PROMPT, index * TRIES + attempt, 2 * tokens + 8, 0, len(self._words))
            words = [self._words[number] for number in drawn]
            for lead in ("", " "):
                text = self._fitted(words, tokens, lead)
                if text is not None:
                    return text
        raise BadInput(f"no text of exactly {tokens} tokens was found for this tokenizer")

    def _fitted(self, words: list[str], tokens: int, lead: str) -> str | None:
        """Return as many of ``words`` as make ``tokens`` tokens, None where no number of them does."""
        size = tokens
        for _ in range(TRIES):
            text = lead + " ".join(words[:size])
            over = self._count(text, special=self.special_tokens) - tokens
            if over == 0 and size:
                return text
            size -= over
            if not 0 < size <= len(words):
                return None
        return None

    def _count(self, text: str, *, special: bool) -> int:
        return len(self.tokenizer.encode(text, add_special_tokens=special).ids)


@dataclass(frozen=True)
class TextPrompts:
    """Requests with texts of exact lengths, no two alike."""

    lengths: Lengths
    texts: ExactText
    seeds: Seeds
    fixed_length: bool

    def request(self, number: int) -> Request:
        """Return request ``number``."""
        tokens, answer = self.lengths.of(number)
        return Request(number, self.texts.text(tokens, self.seeds, number), tokens, answer, self.fixed_length)

    def in_phase(self, phase: int) -> TextPrompts:
        """Return the same lengths with other texts."""
        return replace(self, seeds=replace(self.seeds, phase=phase))
