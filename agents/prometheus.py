"""The text format in which Prometheus exporters and engines show their numbers, and what OpenMetrics adds to it.

Nothing here raises: a line that is no sample is passed over, whatever bytes it holds. The format is described at
https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_QUOTED = r'"(?:[^"\\]|\\.)*+"'
# Possessive throughout, so that no line however strange takes more than one pass.
_SAMPLE = re.compile(
    rf'[ \t]*+(?P<name>[A-Za-z_:][\w:]*+)?+[ \t]*+(?:\{{(?P<labels>(?:[^"}}]|{_QUOTED})*+)\}})?+'
    r"[ \t]*+(?P<value>[^\s{}\"#]++)(?:[ \t]++(?P<timestamp>[-+.0-9eE]++))?+[ \t]*+(?:#.*+)?+"
)
_LABEL = re.compile(rf'[\s,]*+(?P<name>[^\s{{}}"=,]++|{_QUOTED})\s*+(?:=\s*+(?P<value>{_QUOTED}))?+')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n"}

MS_FROM = 1e11
"""Larger timestamps are milliseconds, as in the classic format; smaller ones are seconds, as in OpenMetrics."""


@dataclass(frozen=True)
class Sample:
    """One sample. ``timestamp_s`` is the exporter's own instant in Unix seconds, None where it gives none."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    value: float = 0.0
    timestamp_s: float | None = None


def samples(page: bytes | str) -> list[Sample]:
    """Return every sample of a page, in its order. Any bytes will do."""
    return list(_samples(_text(page).split("\n")))


def samples_of(page: bytes, names: Iterable[str]) -> list[Sample]:
    """Return the samples of these metrics only, without reading the rest of the page."""
    return list(_samples(line.decode(errors="replace") for line in _lines_of(page, {n.encode() for n in names})))


def summed(page: bytes | str) -> dict[str, float]:
    """Return the sum over label sets of every metric."""
    totals: dict[str, float] = {}
    for sample in _samples(_text(page).split("\n")):
        totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return totals


def _text(page: bytes | str) -> str:
    return page.decode(errors="replace") if isinstance(page, bytes) else page


def _lines_of(page: bytes, names: set[bytes]) -> Iterator[bytes]:
    page = b"\n" + page
    starts = []
    for name in names:
        at = page.find(b"\n" + name)
        while at >= 0:
            after = at + 1 + len(name)
            if page[after : after + 1] in (b"{", b" ", b"\t"):
                starts.append(at + 1)
            at = page.find(b"\n" + name, after)
    for start in sorted(starts):
        end = page.find(b"\n", start)
        yield page[start : end if end >= 0 else len(page)]


def _samples(lines: Iterable[str]) -> Iterator[Sample]:
    for line in lines:
        found = _SAMPLE.fullmatch(line.rstrip("\r"))
        if found is None:
            continue
        value, timestamp = _number(found["value"]), _number(found["timestamp"])
        name, labels = _labels(found["labels"] or "")
        name = found["name"] or name
        if value is None or not name:
            continue
        if timestamp is not None and abs(timestamp) >= MS_FROM:
            timestamp /= 1e3
        yield Sample(name, labels, value, timestamp)


def _labels(text: str) -> tuple[str, dict[str, str]]:
    """Return the metric's name, which may stand quoted among the labels, and the labels."""
    metric, labels = "", {}
    for found in _LABEL.finditer(text):
        if found["value"] is not None:
            labels[_unquoted(found["name"])] = _unquoted(found["value"])
        elif found["name"].startswith('"'):
            metric = _unquoted(found["name"])
    return metric, labels


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    return _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), text[1:-1])


def _number(text: str | None) -> float | None:
    """Return a number as the format writes it, NaN and infinities among them."""
    if text is None or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None
