"""One known answer: what was expected, what came out, and whether that is right."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """``passed`` is None where the case could not be tried; ``got`` then says why."""

    family: str
    name: str
    expected: str
    got: str
    passed: bool | None

    @property
    def verdict(self) -> str:
        """``ok``, ``WRONG`` or ``skipped``."""
        return {True: "ok", False: "WRONG", None: "skipped"}[self.passed]

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.verdict:7}  {self.family}: {self.name}: expected {self.expected}, got {self.got}"


def near(family: str, name: str, expected: float, got: float | None, within: float, unit: str = "J") -> Case:
    """Return a case that passes where ``got`` is not further from ``expected`` than ``within``."""
    passed = got is not None and abs(got - expected) <= within
    shown = "nothing" if got is None else f"{got:.7g} {unit}"
    return Case(family, name, f"{expected:.7g} {unit} within {within:.3g}", shown, passed)


def same(family: str, name: str, expected: object, got: object) -> Case:
    """Return a case that passes where both are equal."""
    return Case(family, name, _text(expected), _text(got), expected == got)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "no reason"
    return "nothing" if value is None else str(value)
