"""What a driver ordered and how it went, so that a lost message costs nothing: orders have numbers, answers stay."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """How an order went: what it gave, or what went wrong."""

    value: Any = None
    error: Exception | None = None


@dataclass
class _Series:
    latest: int = 0
    answer: Answer | None = None

    @property
    def over(self) -> int:
        """The latest order if it is over, 0 if not."""
        return self.latest if self.answer is not None else 0


@dataclass
class Operations:
    """Carries out several series of orders at the same time, each order of a series after the one before it.

    To give the same order twice, or to ask twice how it went, changes nothing.
    """

    _series: dict[str, _Series] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self, series: str, number: int, call: Callable[[], Any]) -> None:
        """Begin order ``number`` of a series, unless it is one that was given before."""
        with self._changed:
            mine = self._series.setdefault(series, _Series())
            if number <= mine.latest:
                return
            mine.latest, mine.answer = number, None
            self._changed.notify_all()
        threading.Thread(
            target=self._carry_out, args=(mine, number, call), name=f"{series} {number}", daemon=True
        ).start()

    def over(self, given: Mapping[str, int], seen: Mapping[str, int], wait_s: float) -> dict[str, int]:
        """Return the latest order of each series that is over.

        Wait for news so long at most: an order that is over and was not ``seen``, or one after those ``given``.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._has_news(given, seen), wait_s)
            return {name: s.over for name, s in self._series.items() if s.over}

    def answer(self, series: str, number: int) -> Any:
        """Return what order ``number`` gave, or raise what went wrong with it. It is over, and the latest."""
        with self._changed:
            mine = self._series[series]
            assert mine.latest == number
            assert mine.answer is not None
            if mine.answer.error is not None:
                raise mine.answer.error
            return mine.answer.value

    def _has_news(self, given: Mapping[str, int], seen: Mapping[str, int]) -> bool:
        return any(s.over > seen.get(n, 0) or s.latest > given.get(n, 0) for n, s in self._series.items())

    def _carry_out(self, series: _Series, number: int, call: Callable[[], Any]) -> None:
        try:
            answer = Answer(call())
        except Exception as error:  # noqa: BLE001 -- whatever it is, the driver is told
            answer = Answer(error=error)
        with self._changed:
            if series.latest == number:
                series.answer = answer
                self._changed.notify_all()
