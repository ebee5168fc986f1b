"""How the client itself fared: lateness of its event loop and its share of one core."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

BEAT_S = 0.005


@dataclass
class LoopHealth:
    """Beats every ``BEAT_S`` and keeps how late each beat was."""

    _late_us: list[int] = field(default_factory=list)
    _cpu_s: float = 0.0
    _since: float = 0.0

    def restart(self) -> None:
        """Forget what was before: the window begins."""
        self._late_us.clear()
        self._cpu_s, self._since = time.process_time(), time.monotonic()

    def result(self) -> tuple[int, float]:
        """Return (p99 of the lateness in microseconds, CPU seconds per second) since the restart."""
        cpu_fraction = (time.process_time() - self._cpu_s) / max(1e-9, time.monotonic() - self._since)
        late = sorted(self._late_us)
        return (late[int(0.99 * (len(late) - 1))] if late else 0), cpu_fraction

    async def beat(self) -> None:
        """Run until cancelled."""
        while True:
            due = time.monotonic() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self._late_us.append(max(0, round((time.monotonic() - due) * 1e6)))
