"""What an importer is, and what it gives.

A new format is a file with a `Format`, added to `FORMATS` in `read.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Document = Any
"""Parsed JSON."""


@dataclass(frozen=True)
class Said:
    """What the user says of a file, where the file does not say it, or not in the words of the sweep file."""

    model: str | None = None
    revision: str | None = None
    quantization: str | None = None
    kv_type: str | None = None
    engine: str | None = None
    accelerator: str | None = None
    devices: int | None = None


@dataclass(frozen=True)
class Found:
    """What a document holds: rows of `imported` and of `quality`, without their source, and what was left out."""

    results: tuple[Row, ...] = ()
    scores: tuple[Row, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """One format. ``fits`` tells it from others; ``read`` raises BadInput where something must be said or is wrong."""

    name: str
    title: str
    fits: Callable[[Document], bool]
    read: Callable[[Document, Said], Found]
    example: str = field(default="")


def number(value: object) -> float | None:
    """Return a finite number that is not negative, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def whole(value: object) -> int | None:
    """Return a whole number that is not negative, else None."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def text(value: object) -> str | None:
    """Return a text that is not empty, else None."""
    return value if isinstance(value, str) and value else None
