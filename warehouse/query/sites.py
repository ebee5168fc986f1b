"""What lies beside a sweep: prices of its place, and limits on latency."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.store.location import Warehouse


@dataclass(frozen=True)
class Site:
    """Prices of the place where a sweep ran, as stored in ``sweeps/<sweep>/site.json``. None: not known.

    ``gpu_hour`` is the price of a GPU for an hour, or of a node where the sweep ran on the CPU.
    """

    gpu_hour: float | None = None
    electricity_per_kwh: float | None = None
    pue: float | None = None
    includes_power: bool | None = None
    currency: str | None = None
    as_of: str | None = None


def read_site(warehouse: Warehouse, name: str) -> Site:
    """Return the prices in one file. Raises WarehouseError."""
    try:
        return msgspec.json.decode(warehouse.read(name), type=Site)
    except msgspec.MsgspecError as error:
        raise WarehouseError(f"{name}: not a site record: {error}") from error


def read_slo(warehouse: Warehouse, name: str) -> dict[str, float]:
    """Return the limits on latency in one file, in seconds. Raises WarehouseError."""
    try:
        return msgspec.json.decode(warehouse.read(name), type=dict[str, float])
    except msgspec.MsgspecError as error:
        raise WarehouseError(f"{name}: not a record of latency limits: {error}") from error
