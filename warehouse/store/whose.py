"""Which warehouse this is, whatever path or URL leads to it: an id in a file of its own."""

from __future__ import annotations

import uuid

import msgspec

from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.store.location import Warehouse

FILE = ".joulemark.json"


class _Identity(msgspec.Struct, frozen=True):
    id: str


def id_of(warehouse: Warehouse) -> str | None:
    """Return the warehouse's id; None where it has none yet. Raises WarehouseError where it cannot be read."""
    if not warehouse.exists(FILE):
        return None
    try:
        return msgspec.json.decode(warehouse.read(FILE), type=_Identity).id
    except msgspec.MsgspecError as error:
        raise WarehouseError(f"{warehouse.path(FILE)}: not the id of a warehouse: {error}; delete it") from error


def ensure_id(warehouse: Warehouse) -> str:
    """Return the warehouse's id, given now where it had none. Raises WarehouseError, DiskFull."""
    found = id_of(warehouse)
    if found is not None:
        return found
    warehouse.create(FILE, msgspec.json.encode(_Identity(uuid.uuid4().hex[:16])))
    # Somebody else may have been first.
    return id_of(warehouse) or ensure_id(warehouse)
