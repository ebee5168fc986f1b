"""The node clock: wall time that no NTP step moves, shared by every process of a node and boot.

One anchor pairs the wall clock with the monotonic clock; it is chosen once per boot and kept in a file. Every
instant in a record is the anchor plus monotonic time since, so records of different processes join.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from joulemark.agents.home import joulemark_home
from joulemark.warehouse.units import NS_PER_US

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class NodeClock:
    """An anchor: at ``monotonic_ns`` on the monotonic clock it was ``wall_ns`` since the epoch."""

    boot: str
    monotonic_ns: int
    wall_ns: int

    @classmethod
    def of_this_node(cls, folder: Path | None = None) -> NodeClock:
        """Return the node's clock; the first process of a boot chooses its anchor."""
        folder = (folder or joulemark_home()) / "clock"
        folder.mkdir(parents=True, exist_ok=True)
        boot = boot_id()
        path = folder / f"{boot}.json"
        if not path.exists():
            anchor = cls(boot, *_bracketed_now())
            draft = folder / f".{boot}.{os.getpid()}"
            draft.write_text(json.dumps(asdict(anchor)))
            try:
                os.link(draft, path)
            except FileExistsError:
                # Another process was first: its anchor is the node's, and is read below.
                assert path.exists()
            finally:
                draft.unlink()
        return cls(**json.loads(path.read_text()))

    def now_us(self) -> int:
        """Return the present instant in microseconds since the epoch."""
        return self.at_us(time.monotonic_ns())

    def ahead(self, shift_us: int) -> NodeClock:
        """Return a clock that shows so many microseconds more: that of another node, as seen from here."""
        return replace(self, wall_ns=self.wall_ns + shift_us * NS_PER_US)

    def at_us(self, monotonic_ns: int) -> int:
        """Return the instant of a ``time.monotonic_ns()`` reading, in microseconds since the epoch."""
        return (self.wall_ns + monotonic_ns - self.monotonic_ns) // NS_PER_US

    def monotonic_at_ns(self, instant_us: int) -> int:
        """Return the ``time.monotonic_ns()`` reading at an instant in microseconds since the epoch."""
        return instant_us * NS_PER_US - self.wall_ns + self.monotonic_ns

    def monotonic_s(self, instant_us: int) -> float:
        """Return the ``time.monotonic()`` seconds of an instant in microseconds since the epoch."""
        return (instant_us * NS_PER_US - self.wall_ns + self.monotonic_ns) / 1e9


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return BOOT_ID.read_text().strip()


def _bracketed_now() -> tuple[int, int]:
    """Return (monotonic, wall) nanoseconds of the tightest of several back-to-back readings."""
    readings = []
    for _ in range(16):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        readings.append((after - before, (before + after) // 2, wall))
    _, monotonic, wall = min(readings)
    return monotonic, wall
