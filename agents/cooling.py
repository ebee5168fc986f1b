"""Back to the power of an idle engine before the next trial: as long as that takes, and not a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

MARGIN = 0.05
MARGIN_W = 1.0
"""The band reaches this far above the highest reading of an idle engine."""
POLL_S = 0.25
LONGEST_S = 60.0


@dataclass
class IdleBand:
    """``watts`` says what the node takes now, None where that is not known; ``high_w`` is the top of the band."""

    watts: Callable[[], float | None]
    high_w: float | None = None

    def learn(self, seconds: float, wait: Callable[[float], bool]) -> None:
        """Watch an idle engine for so long; ``wait`` sleeps and says whether to end early."""
        end, seen = time.monotonic() + seconds, []
        while (left_s := end - time.monotonic()) > 0 and not wait(min(POLL_S, left_s)):
            now_w = self.watts()
            seen += [now_w] if now_w is not None else []
        self.high_w = max(seen) * (1 + MARGIN) + MARGIN_W if seen else None

    def wait_cool(self, most_s: float, report: Callable[[str], None], wait: Callable[[float], bool]) -> float:
        """Return, after how many seconds, once the node is back in the band, or after ``most_s`` seconds."""
        begun = time.monotonic()
        while self.high_w is not None and (waited_s := time.monotonic() - begun) < min(most_s, LONGEST_S):
            now_w = self.watts()
            if now_w is None or now_w <= self.high_w:
                return waited_s
            report(f"cooling down ({now_w:.0f} W, idle is below {self.high_w:.0f} W)")
            if wait(POLL_S):
                break
        return time.monotonic() - begun
