"""Whether the kernel's out-of-memory killer was at work: an engine that it ends writes nothing about it."""

from __future__ import annotations

import re
from pathlib import Path

VMSTAT = Path("/proc/vmstat")


def kills_so_far() -> int | None:
    """Return how many processes it has killed since boot, in all containers; None where the kernel does not say."""
    try:
        found = re.search(r"^oom_kill (\d+)$", VMSTAT.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
