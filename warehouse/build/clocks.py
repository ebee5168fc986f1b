"""How well the clocks of a trial's nodes are known against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from joulemark.warehouse.store.location import Warehouse

COLUMNS = ("node", "reference", "t", "offset_us", "uncertainty_us")
DRIFT = 5e-5
"""How fast two clocks may drift apart after they were compared."""
BOUND_US = 20_000
"""Energy at the edge of a window is known no better than this; above it, the reason is `clock_uncertain`."""


@dataclass(frozen=True)
class Estimate:
    """One estimate: the reference's clock less the node's, at an instant of the node's."""

    node: str
    reference: str
    at_us: int
    offset_us: int
    uncertainty_us: int


@dataclass(frozen=True)
class Clocks:
    """The dataset `clocks`, read when a trial on several nodes asks for it."""

    warehouse: Warehouse
    files: tuple[str, ...]
    _warnings: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Files that could not be read, and are left out."""
        return tuple(self._warnings)

    @cached_property
    def estimates(self) -> tuple[Estimate, ...]:
        """All estimates."""
        return tuple(estimate for name in self.files for estimate in self._read(name))

    def _read(self, name: str) -> Iterator[Estimate]:
        try:
            table = pq.read_table(
                self.warehouse.path(name), filesystem=self.warehouse.filesystem, columns=list(COLUMNS)
            )
        except (OSError, pa.ArrowException) as error:
            self._warnings.append(f"{name}: skipped, cannot be read: {str(error).splitlines()[0]}")
            return
        t_us = pc.cast(table["t"], pa.int64())
        columns = (table["node"], table["reference"], t_us, table["offset_us"], table["uncertainty_us"])
        yield from map(Estimate, *(c.to_pylist() for c in columns))

    def uncertainty_us(self, node: str, starts: Mapping[str, int]) -> float | None:
        """Return how far the node's part of a window may lie off from the other nodes' parts.

        ``starts`` are the instants at which the window begins, by node and on that node's clock. 0 where there is no
        other node; None where the clocks were never compared with the same one.
        """
        others = [n for n in starts if n != node]
        if not others:
            return 0.0
        found = [self._against(reference, node, others, starts) for reference in {e.reference for e in self.estimates}]
        known = [f for f in found if f is not None]
        return min(known) if known else None

    def _against(self, reference: str, node: str, others: list[str], starts: Mapping[str, int]) -> float | None:
        at = {n: self._seen_by(reference, n, starts[n]) for n in (node, *others)}
        own = at[node]
        if own is None or None in at.values():
            return None
        return max(abs(own[0] - o[0]) + own[1] + o[1] for n in others if (o := at[n]) is not None)

    def _seen_by(self, reference: str, node: str, at_us: int) -> tuple[float, float] | None:
        """Return an instant of a node's clock on the reference's, and how far that may be off."""
        mine = [e for e in self.estimates if e.node == node and e.reference == reference]
        if not mine:
            return (float(at_us), 0.0) if node == reference else None
        best = min(mine, key=lambda e: e.uncertainty_us + DRIFT * abs(e.at_us - at_us))
        return float(at_us + best.offset_us), best.uncertainty_us + DRIFT * abs(best.at_us - at_us)


def well_known(clock_us: float | None) -> bool:
    """Return whether clocks are known well enough against each other for a figure."""
    return clock_us is not None and clock_us <= BOUND_US
