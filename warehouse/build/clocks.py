"""How well the clocks of a trial's nodes are known against each other."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from joulemark.warehouse.store.location import Warehouse

COLUMNS = ("node", "reference", "t", "uncertainty_us")


@dataclass(frozen=True)
class Clocks:
    """Offset estimates: node, reference, instant and uncertainty, both in microseconds."""

    estimates: tuple[tuple[str, str, int, int], ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, warehouse: Warehouse, files: tuple[str, ...]) -> Clocks:
        """Read the dataset `clocks`; a file that cannot be read is named in ``warnings`` and left out."""
        estimates: list[tuple[str, str, int, int]] = []
        warnings = []
        for name in files:
            try:
                table = pq.read_table(warehouse.path(name), filesystem=warehouse.filesystem, columns=list(COLUMNS))
            except (OSError, pa.ArrowException) as error:
                warnings.append(f"{name}: skipped, cannot be read: {str(error).splitlines()[0]}")
                continue
            t_us = pc.cast(table["t"], pa.int64())
            columns = (table["node"], table["reference"], t_us, table["uncertainty_us"])
            estimates += zip(*(c.to_pylist() for c in columns), strict=True)
        return cls(tuple(estimates), tuple(warnings))

    def uncertainty_us(self, node: str, nodes: tuple[str, ...], at_us: int) -> float | None:
        """Return how far the node's clock may be off against those of the trial's other nodes at an instant.

        0 where there is no other, or where the others were compared with it; None where nothing is known.
        """
        others = [n for n in nodes if n != node]
        if not others:
            return 0.0
        own = [(abs(t - at_us), u) for n, r, t, u in self.estimates if n == node and r != node]
        if own:
            return float(min(own)[1])
        compared = {n for n, r, _, _ in self.estimates if r == node}
        return 0.0 if compared.issuperset(others) else None
