"""A byte-level BPE tokenizer, trained on the project's own text.

Words are cut as GPT-2 cuts them, because both llama.cpp (``gpt-2``) and the tokenizers library (``ByteLevel``) know
that cut by name: one vocabulary then gives the same tokens in every engine.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus.txt"
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
END_OF_TEXT, _, END_OF_MESSAGE = range(3)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# GPT-2's cut, for ASCII text.
_WORD = re.compile(r"'(?:[sdmt]|re|ve|ll)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")

Pair = tuple[str, str]


@dataclass(frozen=True)
class Tokenizer:
    """``vocabulary[i]`` is token ``i``, in the byte alphabet; ``merges`` are in the order in which they apply."""

    vocabulary: tuple[str, ...]
    merges: tuple[Pair, ...]

    @property
    def textless(self) -> tuple[int, ...]:
        """The tokens that are no whole text by themselves: specials, reserved ones, parts of UTF-8 characters."""
        parts = set(byte_alphabet()[0x80:])
        return tuple(n for n, token in enumerate(self.vocabulary) if token in parts or token.startswith("<|"))


@cache
def project_tokenizer(size: int) -> Tokenizer:
    """Return the tokenizer with ``size`` tokens, trained on the project's text."""
    return train(CORPUS.read_text(encoding="ascii"), size)


def train(text: str, size: int) -> Tokenizer:
    """Return a tokenizer of exactly ``size`` tokens: specials, bytes, merges and, where those run out, reserved ones.

    ``text`` is ASCII. The most frequent pair is merged first; equally frequent ones in alphabetical order.
    """
    alphabet = byte_alphabet()
    vocabulary = dict.fromkeys((*SPECIALS, *sorted(alphabet)))
    words = Counter("".join(alphabet[byte] for byte in word.encode()) for word in _WORD.findall(text))
    merging = _Merging(words)
    merges: list[Pair] = []
    while len(vocabulary) < size and (pair := merging.pop()):
        merges.append(pair)
        vocabulary["".join(pair)] = None
    reserved = (f"<|reserved_{n}|>" for n in range(size - len(vocabulary)))
    return Tokenizer((*vocabulary, *reserved), tuple(merges))


@cache
def byte_alphabet() -> str:
    """Return the 256 characters that stand for bytes: itself where a byte is printable in Latin-1, else from U+0100.

    The mapping of GPT-2, which byte-level tokenizers share.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in printable else next(others)) for byte in range(256))


class _Merging:
    """Words as sequences of symbols, and how often each pair of neighbours occurs."""

    def __init__(self, words: Counter[str]) -> None:
        self._counts = dict(words)
        self._symbols = {word: list(word) for word in words}
        self._pairs: Counter[Pair] = Counter()
        self._words_of: defaultdict[Pair, set[str]] = defaultdict(set)
        for word in words:
            self._count(word, 1)
        self._queue = [(-count, pair) for pair, count in self._pairs.items()]
        heapq.heapify(self._queue)

    def pop(self) -> Pair | None:
        """Merge the most frequent pair everywhere and return it; None where no pair is left."""
        while self._queue:
            negative, pair = heapq.heappop(self._queue)
            if self._pairs[pair] == -negative > 0:
                self._merge(pair)
                return pair
        return None

    def _merge(self, pair: Pair) -> None:
        touched: set[Pair] = set()
        for word in sorted(self._words_of[pair]):
            touched.update(self._count(word, -1))
            self._symbols[word] = _merged(self._symbols[word], pair)
            touched.update(self._count(word, 1))
        for changed in touched:
            # An entry whose count is no longer true is skipped when it comes up.
            heapq.heappush(self._queue, (-self._pairs[changed], changed))

    def _count(self, word: str, sign: int) -> list[Pair]:
        pairs = list(pairwise(self._symbols[word]))
        for pair in pairs:
            self._pairs[pair] += sign * self._counts[word]
            self._words_of[pair].add(word)
        return pairs


def _merged(symbols: list[str], pair: Pair) -> list[str]:
    out: list[str] = []
    for symbol in symbols:
        # A symbol that was just made by a merge cannot be half of the same pair: it is longer.
        if out and (out[-1], symbol) == pair:
            out[-1] = out[-1] + symbol
        else:
            out.append(symbol)
    return out
