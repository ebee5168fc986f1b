"""The log of a wall-power meter as SPEC's PTDaemon writes it: ``Time,MM-DD-YYYY HH:MM:SS.mmm,Watts,x,...``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.units import US_PER_S

STAMP = "%m-%d-%Y %H:%M:%S.%f"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class MeterLog:
    """Readings in the order of the log: instants in microseconds of the meter's own wall time, and watts."""

    t_us: tuple[int, ...]
    power_w: tuple[float, ...]

    def between(self, start_us: int, end_us: int) -> list[float]:
        """Return the watts read from ``start_us`` to ``end_us``, both included."""
        return [p for t, p in zip(self.t_us, self.power_w, strict=True) if start_us <= t <= end_us]


def parse(text: bytes | str, name: str = "meter log") -> MeterLog:
    """Return what a log says. Raises BadInput, with the line's number, where a line is none of a log."""
    lines = text.decode("utf-8", errors="replace") if isinstance(text, bytes) else text
    readings = list(_readings(lines.split("\n"), name))
    return MeterLog(tuple(t for t, _ in readings), tuple(p for _, p in readings))


def instant_us(stamp: str) -> int:
    """Return a stamp as microseconds since 1970 of the meter's own wall time. Raises ValueError."""
    since = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * US_PER_S + since.microseconds


def _readings(lines: Iterable[str], name: str) -> Iterable[tuple[int, float]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _reading(line.strip().split(","))
        except (ValueError, IndexError) as error:
            raise BadInput(
                f"{name}, line {number}: {line[:60]!r} is no reading of a meter; "
                "expected Time,MM-DD-YYYY HH:MM:SS.mmm,Watts,<number>,..."
            ) from error


def _reading(fields: list[str]) -> tuple[int, float]:
    """Return instant and watts. Raises ValueError or IndexError where these are no fields of a reading."""
    if fields[0] != "Time" or fields[2] != "Watts":
        raise ValueError("not Time,...,Watts,...")
    power_w = float(fields[3])
    if not math.isfinite(power_w):
        raise ValueError("not a number of watts")
    return instant_us(fields[1]), power_w
