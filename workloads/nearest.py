"""What to say about a word that nothing goes by."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], count: int = 1) -> list[str]:
    """Return up to ``count`` words of ``known`` that look most like ``word``; empty where none is alike."""
    by_lower = {k.lower(): k for k in known}
    found = difflib.get_close_matches(word.lower(), list(by_lower), n=count, cutoff=0.5)
    return [by_lower[f] for f in found]


def suggestion(word: str, known: Iterable[str], count: int = 1) -> str:
    """Return the end of an error line about ``word``: the nearest known word and the list of all."""
    words = list(known)
    alike = nearest(word, words, count)
    listed = f"known: {', '.join(words)}" if words else "none is known"
    return f"did you mean {' or '.join(alike)}? ({listed})" if alike else listed
