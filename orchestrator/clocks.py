"""Offsets of the nodes' clocks against the driver's through a sweep, kept for dataset `clocks`."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from joulemark.agents.clock_offset import Exchange, Offset, offset
from joulemark.warehouse.build.clocks import DRIFT
from joulemark.warehouse.schema.datasets import DATASETS
from joulemark.warehouse.store.layout import segment_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table

FAR_US = 1_000_000
"""A clock this far off is worth a word: its records join, and its dates mislead people."""
JUMP_US = 100_000
"""Between two estimates, no quartz drifts so far."""


@dataclass
class ClockRecord:
    """Estimates of one node's clock in one run. ``write`` puts those that are new into the warehouse."""

    node: str
    boot: str
    reference: str
    tell: Callable[[str], None]
    estimates: list[Offset] = field(default_factory=list)
    _written: int = 0
    _since: int = 0
    """The first estimate after the last jump."""
    _last_at: float = 0.0
    _wrote: float = -math.inf
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, exchanges: Sequence[Exchange]) -> None:
        """Take the quickest of these exchanges; say where the clock is far off, or has jumped."""
        new = offset(exchanges)
        with self._lock:
            last = self.estimates[-1] if self.estimates else None
            self.estimates.append(new)
            self._last_at = time.monotonic()
            jumped = last is not None and _apart_us(last, new) > JUMP_US
            if jumped:
                self._since = len(self.estimates) - 1
        if last is None and abs(new.offset_us) > FAR_US:
            self.tell(
                f"{self.node}: its clock is {-new.offset_us / 1e6:+.1f} s off {self.reference}'s; records are joined "
                "by the measured offset, and dates are the node's own"
            )
        if last is not None and jumped:
            self.tell(
                f"{self.node}: its clock has jumped by {(last.offset_us - new.offset_us) / 1e6:+.2f} s against "
                f"{self.reference}'s"
            )

    @property
    def best(self) -> Offset | None:
        """What is known best of the clock now, with how far it may have drifted since; None before anything is."""
        with self._lock:
            known = self.estimates[self._since :]
        if not known:
            return None
        now_us = known[-1].at_us + round((time.monotonic() - self._last_at) * 1e6)
        drifted = (replace(e, uncertainty_us=round(e.uncertainty_us + DRIFT * (now_us - e.at_us))) for e in known)
        return min(drifted, key=lambda e: e.uncertainty_us)

    def write(self, warehouse: Warehouse, every_s: float = 0.0) -> None:
        """Write the estimates that are in no file yet, not more often than that. Raises WarehouseError, DiskFull."""
        with self._lock:
            new = self.estimates[self._written :]
        if not new or time.monotonic() < self._wrote + every_s:
            return
        rows = [
            {
                "node": self.node,
                "boot": self.boot,
                "reference": self.reference,
                "t": e.at_us,
                "offset_us": e.offset_us,
                "uncertainty_us": e.uncertainty_us,
            }
            for e in new
        ]
        dataset = DATASETS["clocks"]
        table = dataset.arrow.empty_table().from_pylist(rows, schema=dataset.arrow)
        write_table(warehouse, dataset, segment_file("clocks", self.node, f"{self.boot[:8]}-{new[0].at_us}"), table)
        with self._lock:
            self._written += len(new)
            self._wrote = time.monotonic()


def _apart_us(one: Offset, other: Offset) -> int:
    """Return how far two estimates are apart beyond what they may each be off."""
    return abs(one.offset_us - other.offset_us) - one.uncertainty_us - other.uncertainty_us
