"""Follow a sweep that another driver runs: show how far it is, and end as it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from joulemark.orchestrator.progress import Snapshot, load
from joulemark.orchestrator.ray_lease import Driving
from joulemark.orchestrator.terminal import line
from joulemark.warehouse.store.location import Warehouse

EVERY_S = 5.0


def follow(
    driving: Iterable[Driving], warehouse: Warehouse, sweep: str, tell: Callable[[str], None]
) -> Snapshot | None:
    """Tell of every step until the sweep ends, and return its last state; None where its driver was lost."""
    last, due = "", 0.0
    for now in driving:
        if now.snapshot is None:
            continue
        text = line(now.snapshot)
        if text != last and time.monotonic() >= due:
            tell(text)
            last, due = text, time.monotonic() + EVERY_S
    # A driver may be gone before it was asked the last time; what it wrote is there.
    end = load(warehouse, sweep)
    return end if end is not None and end.state == "ended" else None
