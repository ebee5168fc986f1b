"""One compaction or pruning of a warehouse at a time."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.store.location import Warehouse

LOCK = "upkeep.lock"


@contextmanager
def upkeep(warehouse: Warehouse) -> Iterator[None]:
    """Hold the lock in the block. Raises WarehouseError where another process has it.

    In a folder the lock ends with its process; in an object store it is an object that says who made it.
    """
    busy = f"another compaction or pruning of {warehouse.url} is running"
    if warehouse.local:
        with open(warehouse.path("." + LOCK), "a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WarehouseError(f"{busy}; wait for its end") from error
            yield
        return
    who = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if not warehouse.create(LOCK, json.dumps(who).encode()):
        raise WarehouseError(
            f"{busy}: {warehouse.read(LOCK).decode()}; if that is no more, delete {warehouse.path(LOCK)}"
        )
    try:
        yield
    finally:
        warehouse.delete(LOCK)
