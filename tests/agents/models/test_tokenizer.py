"""The tokenizer that is trained on the project's text."""

from __future__ import annotations

import re
from itertools import pairwise

from joulemark.agents.models.tokenizer import CORPUS, SPECIALS, Tokenizer, byte_alphabet, project_tokenizer, train

GPT2_WORD = re.compile(r"'(?:[sdmt]|re|ve|ll)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def encode(tokenizer: Tokenizer, text: str) -> list[str]:
    """Return the tokens of ``text``: in each word, the earliest merge first, as engines do it."""
    rank = {pair: n for n, pair in enumerate(tokenizer.merges)}
    tokens: list[str] = []
    for word in GPT2_WORD.findall(text):
        parts = [byte_alphabet()[byte] for byte in word.encode()]
        while True:
            pairs = [(rank.get((a, b), len(rank)), i) for i, (a, b) in enumerate(pairwise(parts))]
            best, at = min(pairs, default=(len(rank), 0))
            if best == len(rank):
                break
            parts[at : at + 2] = ["".join(parts[at : at + 2])]
        tokens += parts
    return tokens


def decode(tokens: list[str]) -> str:
    return bytes(byte_alphabet().index(character) for character in "".join(tokens)).decode()


def test_the_vocabulary_is_complete() -> None:
    tokenizer = project_tokenizer(2048)
    assert len(tokenizer.vocabulary) == len(set(tokenizer.vocabulary)) == 2048
    assert tokenizer.vocabulary[:3] == SPECIALS
    assert set(byte_alphabet()) <= set(tokenizer.vocabulary)
    assert {a + b for a, b in tokenizer.merges} <= set(tokenizer.vocabulary)


def test_words_of_the_text_are_single_tokens_and_anything_survives() -> None:
    tokenizer = project_tokenizer(2048)
    assert encode(tokenizer, " energy of a token") == ["Ġenergy", "Ġof", "Ġa", "Ġtoken"]
    text = "Wärme ~ 3.6e6 J/kWh, isn't it?\n\n\tεnergy 熱"
    assert decode(encode(tokenizer, text)) == text
    assert set(encode(tokenizer, text)) <= set(tokenizer.vocabulary)


def test_the_most_frequent_pair_is_merged_first_and_ties_in_alphabetical_order() -> None:
    tokenizer = train("ab ab ab cd cd cd xy", 3 + 256 + 4)
    # The first word has no blank before it, so its pairs are one rarer than those with one.
    assert tokenizer.merges[:2] == (("a", "b"), ("c", "d"))
    assert len(tokenizer.vocabulary) == 3 + 256 + 4


def test_a_small_text_is_filled_up_with_reserved_tokens() -> None:
    tokenizer = train("aa", 3 + 256 + 1 + 2)
    assert tokenizer.merges == (("a", "a"),)
    assert tokenizer.vocabulary[-3:] == ("aa", "<|reserved_0|>", "<|reserved_1|>")


def test_repeated_letters_are_merged_from_the_left() -> None:
    assert encode(train("aaa aaa", 3 + 256 + 1), "aaa") == ["aa", "a"]


def test_tokens_without_text_of_their_own() -> None:
    tokenizer = project_tokenizer(2048)
    textless = {tokenizer.vocabulary[n] for n in tokenizer.textless}
    assert set(SPECIALS) <= textless
    assert {byte_alphabet()[0xA5], "<|reserved_0|>"} <= textless
    assert textless.isdisjoint({byte_alphabet()[0x41], byte_alphabet()[0x0A], "Ġof"})


def test_the_text_is_plain_and_large_enough() -> None:
    assert 12_000 < len(CORPUS.read_text(encoding="ascii")) < 20_000
