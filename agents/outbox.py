"""What a node has sealed and the warehouse does not have yet: files on the local disk, removed only once they count."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.whose import id_of

CHUNK_BYTES = 1 << 20
REACH_S = 15.0


@dataclass(frozen=True)
class Sealed:
    """One file, by its name in the warehouse, and what it must be when it arrives there."""

    name: str
    size: int
    sha256: str


class Outbox:
    """A folder that is laid out like the warehouse that it is for; each warehouse has its own."""

    def __init__(self, folder: Path, warehouse_id: str) -> None:
        self.files = Warehouse.at(folder / warehouse_id)

    def pending(self) -> list[Sealed]:
        """Return what waits, by name."""
        return [self._sealed(name) for name in self.files.list("")]

    def chunk(self, name: str, offset: int) -> bytes:
        """Return at most ``CHUNK_BYTES`` of a file from ``offset`` on."""
        with Path(self.files.path(name)).open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)

    def upload(self, warehouse: Warehouse, sealed: Iterable[Sealed]) -> None:
        """Copy files into a warehouse that this node reaches, and read them back. Raises WarehouseError, DiskFull."""
        for one in sealed:
            warehouse.write(one.name, self.files.read(one.name))
            arrived(warehouse, one)

    def forget(self, names: Iterable[str]) -> None:
        """Remove files that count in the warehouse, or that will never count."""
        for name in names:
            self.files.delete(name)

    def _sealed(self, name: str) -> Sealed:
        content = self.files.read(name)
        return Sealed(name, len(content), hashlib.sha256(content).hexdigest())


def reaches(place: str, warehouse_id: str, within_s: float = REACH_S) -> bool:
    """Return whether the warehouse at a path or URL is the one with this id, as far as that shows in time.

    A store behind a network without an answer, or one that wants credentials that are not here, may take minutes to
    say so.
    """
    found: list[str | None] = []

    def look() -> None:
        with suppress(WarehouseError):
            found.append(id_of(Warehouse.at(place)))

    looking = threading.Thread(target=look, name="reach", daemon=True)
    looking.start()
    looking.join(within_s)
    return found == [warehouse_id]


def arrived(warehouse: Warehouse, sealed: Sealed) -> None:
    """Check that a file arrived as it was sent. Raises WarehouseError."""
    content = warehouse.read(sealed.name)
    if len(content) != sealed.size or hashlib.sha256(content).hexdigest() != sealed.sha256:
        raise WarehouseError(
            f"{sealed.name} arrived with other content than it was sent with ({len(content)} of {sealed.size} bytes)"
        )
