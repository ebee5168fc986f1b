"""What is stored of a sweep itself: its file, and the prices of the place where it ran."""

from __future__ import annotations

import json
from typing import Any

from joulemark.orchestrator.sweep_work import SweepWork
from joulemark.warehouse.store.layout import SWEEPS
from joulemark.warehouse.store.location import Warehouse


def store(warehouse: Warehouse, work: SweepWork) -> None:
    """Store sweep file, site file, the site's prices and the limits on latency below ``sweeps/<name>``.

    Raises WarehouseError, DiskFull.
    """
    folder = f"{SWEEPS}/{work.sweep.name}"
    warehouse.write(f"{folder}/sweep.yaml", work.sweep.text.encode())
    if work.site.text:
        warehouse.write(f"{folder}/site.yaml", work.site.text.encode())
    warehouse.write(f"{folder}/site.json", json.dumps(_prices(work), indent=1).encode())
    warehouse.write(f"{folder}/slo.json", json.dumps(dict(work.sweep.slo), indent=1).encode())


def _prices(work: SweepWork) -> dict[str, Any]:
    """Return the prices in one row. Where the sweep's accelerators have different prices, those are NULL."""
    records = [work.site.price_record(a) for a in sorted({c.deployment.accelerator for c in work.expansion.cells})]
    return {key: value if all(r[key] == value for r in records) else None for key, value in records[0].items()}
