"""What is stored of a sweep itself: its file, and the prices of the place where it ran."""

from __future__ import annotations

import json
from typing import Any

from joulemark.orchestrator.sweep_work import SweepWork
from joulemark.warehouse.store.layout import SWEEPS
from joulemark.warehouse.store.location import Warehouse
from joulemark.workloads.site import Price


def store(warehouse: Warehouse, work: SweepWork) -> None:
    """Store sweep file, site file and the site's prices below ``sweeps/<name>``. Raises WarehouseError, DiskFull."""
    folder = f"{SWEEPS}/{work.sweep.name}"
    warehouse.write(f"{folder}/sweep.yaml", work.sweep.text.encode())
    if work.site.text:
        warehouse.write(f"{folder}/site.yaml", work.site.text.encode())
    warehouse.write(f"{folder}/site.json", json.dumps(_prices(work), indent=1).encode())


def _prices(work: SweepWork) -> dict[str, Any]:
    """Return the prices in one row. Where the sweep's accelerators have different prices, ``gpu_hour`` is NULL."""
    labels = {c.deployment.accelerator for c in work.expansion.cells if not c.deployment.on_cpu}
    found: set[Price | None] = {work.site.gpu_price(label) for label in labels}
    price = found.pop() if len(found) == 1 else None
    return {
        "gpu_hour": price.per_hour if price else None,
        "includes_power": price.includes_power if price else None,
        "electricity_per_kwh": work.site.electricity_per_kwh,
        "pue": work.site.pue,
        "currency": work.site.currency,
        "as_of": work.site.as_of.isoformat() if work.site.as_of else None,
    }
