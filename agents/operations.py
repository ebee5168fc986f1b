"""What a driver ordered and how it went, so that a lost message costs nothing: orders have numbers, answers stay."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """How an order went: what it gave, or what went wrong."""

    value: Any = None
    error: Exception | None = None


@dataclass
class Operations:
    """Carries out one order after the other, each in a thread of its own.

    To give the same order twice, or to ask twice how it went, changes nothing.
    """

    _latest: int = 0
    _answer: Answer | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self, number: int, call: Callable[[], Any]) -> None:
        """Begin order ``number``, unless it is one that was given before."""
        with self._changed:
            if number <= self._latest:
                return
            self._latest, self._answer = number, None
        threading.Thread(target=self._carry_out, args=(number, call), name=f"order {number}", daemon=True).start()

    def over(self, number: int, wait_s: float) -> bool:
        """Wait so long at most for the end of order ``number``; return whether it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._latest != number or self._answer is not None, wait_s)
            return self._latest == number and self._answer is not None

    def answer(self, number: int) -> Any:
        """Return what order ``number`` gave, or raise what went wrong with it; it is over, and the latest."""
        with self._changed:
            assert self._latest == number
            assert self._answer is not None
            if self._answer.error is not None:
                raise self._answer.error
            return self._answer.value

    def _carry_out(self, number: int, call: Callable[[], Any]) -> None:
        try:
            answer = Answer(call())
        except Exception as error:  # noqa: BLE001 -- whatever it is, the driver is told
            answer = Answer(error=error)
        with self._changed:
            if self._latest == number:
                self._answer = answer
                self._changed.notify_all()
