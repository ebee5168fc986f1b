"""What one factor does to the energy of a token: all pairs of cells that differ in that factor alone, and node effects.

A lever is a path in the factors (`quantization`, `engine.args.enable-prefix-caching`, `workload.concurrency`, ...). Two
cells are a matched pair where all other factors are equal; engine version and model revision go with their engine and
model. Pairs are compared as `compare` does (Welch's test on mean logs, statistics.py); p is for one pair, not for all.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

from joulemark.warehouse.build.statistics import Mean, compare_means

Row = dict[str, Any]
Leaves = dict[str, str]

TOGETHER = {"model": ("model.",), "engine.name": ("engine.version", "engine.args.")}
"""What may differ along with a lever: other engines have other versions and other arguments."""


def lever_rows(cells: Iterable[tuple[Row, Mapping[str, Any], Mean]]) -> list[Row]:
    """Return one row per lever and matched pair of cells of one boundary and fidelity.

    Each cell comes with the columns ``cell``, ``boundary`` and ``fidelity``, its factors, and its mean.
    """
    groups: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for row, factors, mean in cells:
        groups[row["boundary"], row["fidelity"]].append(Point(row["cell"], dict(_leaves(factors)), mean))
    return [
        {"boundary": boundary, "fidelity": fidelity} | row
        for (boundary, fidelity), group in groups.items()
        for row in _group_rows(group)
    ]


@dataclass(frozen=True)
class Point:
    """A cell with its factors as leaves, and its mean."""

    cell: str
    leaves: Leaves
    mean: Mean

    def without(self, lever: str) -> int:
        """Return a hash of all factors that do not belong to ``lever``."""
        return self._whole ^ _mixed((p, v) for p, v in self.leaves.items() if _belongs(p, lever))

    @cached_property
    def _whole(self) -> int:
        return _mixed(self.leaves.items())


def _mixed(leaves: Iterable[tuple[str, str]]) -> int:
    """Return a hash of 128 bits from which leaves can be taken out again by mixing them in once more."""
    mixed = 0
    for leaf in leaves:
        mixed ^= int.from_bytes(blake2b(repr(leaf).encode(), digest_size=16).digest())
    return mixed


def _group_rows(group: list[Point]) -> Iterator[Row]:
    levers = sorted({_lever(path) for point in group for path in point.leaves})
    for lever in levers:
        matched: dict[int, list[tuple[str, Point]]] = defaultdict(list)
        for point in group:
            matched[point.without(lever)].append((_value(point.leaves, lever), point))
        for same in matched.values():
            ordered = sorted(same, key=lambda s: (_order(s[0]), s[1].cell))
            for (value_a, a), (value_b, b) in itertools.combinations(ordered, 2):
                if value_a != value_b:
                    yield _pair(lever, (value_a, a), (value_b, b))


def _pair(lever: str, a: tuple[str, Point], b: tuple[str, Point]) -> Row:
    difference = compare_means(b[1].mean, a[1].mean)
    low, high = difference.interval or (None, None)
    return {
        "lever": lever,
        "value_a": a[0],
        "value_b": b[0],
        "cell_a": a[1].cell,
        "cell_b": b[1].cell,
        "ratio": difference.ratio,
        "ratio_low": low,
        "ratio_high": high,
        "p": difference.p,
    }


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, json.dumps(value)


def _lever(path: str) -> str:
    if path.startswith("model."):
        return "model"
    return "engine.name" if path == "engine.version" else path


def _belongs(path: str, lever: str) -> bool:
    return _lever(path) == lever or path.startswith(TOGETHER.get(lever, ()))


def _value(leaves: Leaves, lever: str) -> str:
    if lever == "model":
        return _text(leaves.get("model.name"))
    if lever == "engine.name":
        return f"{_text(leaves.get('engine.name'))} {_text(leaves.get('engine.version'))}"
    return _text(leaves.get(lever))


def _text(encoded: str | None) -> str:
    """Return a value as it stands in a sweep file; what is not given is a dash."""
    if encoded is None or encoded == "null":
        return "-"
    value = json.loads(encoded)
    return value if isinstance(value, str) else encoded


def _order(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value
