"""An energy register of powercap, which begins anew from 0 past its range: carried on over that, told from a reset.

Both look alike: the register shows less than before. A wrap means that the zone took what was missing to the register's
end and what it shows now. Where no zone takes so much in the time gone by, the register was reset: by a reload of the
driver, or while the machine slept.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MOST_W = 5_000
"""More than any zone takes, over any time."""
LEAST_MOST_W = 500
"""Limits of zones of memory are known to be set lower than what these take."""
TIMES_LIMIT = 4
"""A zone's mean power from one read to the next stays below its highest limit times this."""
MOST_UJ = 1 << 62
"""No register counts so far, and totals beyond it do not fit where they are kept."""
_LIMIT = re.compile(r"constraint_\d+_(power_limit|max_power)_uw")


@dataclass
class Register:
    """One register. ``total_uj`` continues over its wraps, and begins anew where it was reset."""

    range_uj: int
    most_w: float = MOST_W
    last_uj: int | None = None
    changed_ns: int = 0
    """When it last showed something new: what it took since then may have been taken in all that time."""
    total_uj: int = 0

    @classmethod
    def of(cls, zone: Path) -> Register:
        """Return the register of a powercap zone's folder. Raises OSError, or ValueError without a range."""
        return cls(microjoules(zone / "max_energy_range_uj"), most_w(zone))

    def continued(self, now_uj: int) -> int:
        """Return the total, given what the register shows now. It falls where the register was reset."""
        if now_uj == self.last_uj:
            return self.total_uj
        now_ns = time.monotonic_ns()
        if self.last_uj is None:
            self.total_uj = now_uj
        else:
            used_uj = (now_uj - self.last_uj) % (self.range_uj + 1)
            reset = now_uj < self.last_uj and used_uj * 1e3 > self.most_w * (now_ns - self.changed_ns)
            self.total_uj = now_uj if reset else self.total_uj + used_uj
        self.last_uj, self.changed_ns = now_uj, now_ns
        return self.total_uj


def most_w(zone: Path) -> float:
    """Return more watts than the zone takes, by the limits that its folder tells."""
    limits_w = []
    for path in sorted(zone.glob("constraint_*_uw")):
        if _LIMIT.fullmatch(path.name):
            # Many zones have limits that cannot be read, or have none.
            with suppress(OSError, ValueError):
                limits_w.append(microjoules(path) / 1e6)
    highest_w = max(limits_w, default=0.0)
    return min(max(TIMES_LIMIT * highest_w, LEAST_MOST_W), MOST_W) if highest_w else MOST_W


def microjoules(path: Path) -> int:
    """Return the microjoules in a file. Raises OSError, or ValueError where it holds no such number."""
    text = path.read_text().strip()
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < MOST_UJ):
        raise ValueError(f"{path.name} holds {text[:40]!r}, which is no number of microjoules")
    return int(text)
