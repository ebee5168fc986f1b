"""Traces on their way from a node's disk to the warehouse: verified, and only then forgotten on the node."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol, TypeVar

from joulemark.agents.outbox import Sealed, arrived
from joulemark.warehouse.errors import DiskFull, NewerSchema, NodeLost, WarehouseError
from joulemark.warehouse.store.layout import manifest_file
from joulemark.warehouse.store.location import Warehouse

T = TypeVar("T")
FIRST_S, SLOWEST_S = 1.0, 30.0
OF_A_TRIAL = ("requests/", "engine_state/")
"""Where files lie that nobody wants without their trial's manifest."""
OF_THE_AGENT = "nodes/"
"""Where an agent writes when it opens."""


class Sender(Protocol):
    """The calls of an agent that are needed here."""

    def reaches_warehouse(self) -> bool: ...
    def pending(self) -> list[Sealed]: ...
    def upload(self, sealed: list[Sealed]) -> None: ...
    def chunk(self, name: str, offset: int) -> bytes: ...
    def forget(self, names: list[str]) -> None: ...


@dataclass
class Patience:
    """Tries again what a warehouse refuses that cannot be reached; a full one is not waited for."""

    tell: Callable[[str], None]
    stopping: threading.Event
    seconds: float

    def with_(self, call: Callable[[], T]) -> T:
        """Return what the call gives once it gives something. Raises DiskFull, or WarehouseError after a while."""
        begun, wait_s, told = time.monotonic(), FIRST_S, False
        while True:
            try:
                given = call()
            except (DiskFull, NewerSchema):
                raise
            except WarehouseError as error:
                if time.monotonic() - begun > self.seconds or self.stopping.is_set():
                    raise
                if not told:
                    self.tell(
                        f"{error}; trying again for {self.seconds / 60:.0f} min, nothing measured is lost meanwhile"
                    )
                    told = True
                self.stopping.wait(wait_s)
                wait_s = min(2 * wait_s, SLOWEST_S)
            else:
                if told:
                    self.tell(f"the warehouse answers again after {time.monotonic() - begun:.0f} s")
                return given


@dataclass
class Home:
    """Brings home what one node has sealed. ``direct`` says whether the node writes into the warehouse itself."""

    agent: Sender
    warehouse: Warehouse
    patience: Patience
    direct: bool = False
    _came: list[str] = field(default_factory=list)

    def begin(self) -> int:
        """Find out the way, and bring home what an earlier run left; return how many files that were."""
        self.direct = self.patience.with_(self.agent.reaches_warehouse)
        left = self.agent.pending()
        # A trial without a manifest is run again under another name; one with a manifest has its files already.
        self.agent.forget([s.name for s in left if s.name.startswith(OF_A_TRIAL)])
        self.bring()
        brought = [name for name in self._came if not name.startswith(OF_THE_AGENT)]
        self.committed()
        return len(brought)

    def bring(self) -> int:
        """Have all that is sealed in the warehouse, as it was sent; return how many files that were.

        Raises DiskFull or WarehouseError.
        """
        pending = [s for s in self.agent.pending() if s.name not in self._came]
        for sealed in pending:
            self.patience.with_(lambda one=sealed: self._send(one))  # type: ignore[misc]
            self._came.append(sealed.name)
        return len(pending)

    def committed(self) -> None:
        """Remove from the node what came home: it counts now."""
        came, self._came = self._came, []
        with suppress(NodeLost):
            # The next agent of that node finds these files, and they are sent once more.
            self.agent.forget(came)

    def _send(self, sealed: Sealed) -> None:
        if sealed.name.startswith(OF_A_TRIAL) and self.warehouse.exists(manifest_file(PurePath(sealed.name).stem)):
            # Another cluster was first with this trial: its traces stay, and this one will be the duplicate.
            return
        if self.direct:
            self.agent.upload([sealed])
        else:
            self._fetch(sealed)

    def _fetch(self, sealed: Sealed) -> None:
        """Write a file as it comes, a chunk at a time; it appears whole or not at all."""
        digest, offset = hashlib.sha256(), 0
        with self.warehouse.writing(sealed.name) as stream:
            while offset < sealed.size:
                content = self.agent.chunk(sealed.name, offset)
                if not content:
                    raise WarehouseError(f"{sealed.name} ended after {offset} of {sealed.size} bytes")
                stream.write(content)
                digest.update(content)
                offset += len(content)
            if digest.hexdigest() != sealed.sha256:
                raise WarehouseError(f"{sealed.name} arrived with other content than it was sent with")
        arrived(self.warehouse, sealed)
