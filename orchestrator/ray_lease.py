"""One driver per sweep and cluster: a named actor that says who drives, and how far the sweep is.

The actor belongs to the driver that holds the lease, and ends with it. A driver that hangs loses the lease after a
while; should it wake up, it finds that out and stops.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError

from joulemark.orchestrator.progress import Snapshot
from joulemark.warehouse.errors import ClusterError

TTL_S = 30.0
RENEW_S = 2.0
ANSWER_S = 10.0


@dataclass(frozen=True)
class Driving:
    """How far a sweep is that another driver runs; ``snapshot`` is None before it has begun."""

    snapshot: Snapshot | None
    ended: bool


class SweepLease:
    """The lease of one sweep into one warehouse on the cluster that is connected."""

    def __init__(self, sweep: str, warehouse_id: str, who: str) -> None:
        self.sweep = sweep
        self.name = f"driver-{sweep}-{warehouse_id}"
        self.who = who
        self._actor: Any = None

    def take(self) -> str | None:
        """Take the lease; return who has it where that is another driver. Raises ClusterError."""
        deadline = time.monotonic() + TTL_S
        while True:
            try:
                actor = ray.remote(_Lease).options(name=self.name, num_cpus=0, get_if_exists=True).remote()
                other: str | None = ray.get(actor.take.remote(self.who), timeout=ANSWER_S)
            except (RayError, ValueError) as error:
                # It ended with its driver while we asked.
                if time.monotonic() > deadline:
                    raise ClusterError(f"cannot find out who drives this sweep: {error}") from error
                time.sleep(RENEW_S)
                continue
            if other is None:
                self._actor = actor
            return other

    @contextmanager
    def held(self, snapshot: Callable[[], Snapshot], lost: Callable[[str], None]) -> Iterator[None]:
        """Renew the lease while the block lasts; ``lost`` is called should another driver have it."""
        over = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(over, snapshot, lost), name="lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            over.set()
            renewing.join()
            self._last(snapshot())

    def follow(self) -> Iterator[Driving]:
        """Yield how the sweep stands until it has ended or its driver is gone."""
        while True:
            try:
                text, ended = ray.get(ray.get_actor(self.name).look.remote(), timeout=ANSWER_S)
            except (ActorUnavailableError, GetTimeoutError):
                time.sleep(RENEW_S)
                continue
            except (RayError, ValueError):
                return
            snapshot = msgspec.json.decode(text, type=Snapshot) if text else None
            yield Driving(snapshot, ended)
            if ended:
                return
            time.sleep(RENEW_S)

    def _renew(self, over: threading.Event, snapshot: Callable[[], Snapshot], lost: Callable[[str], None]) -> None:
        while not over.wait(RENEW_S):
            try:
                other = ray.get(self._actor.renew.remote(self.who, _text(snapshot())), timeout=ANSWER_S)
            except (ActorUnavailableError, GetTimeoutError):
                continue
            except RayError:
                # The actor's node is gone. Whoever is first has the next one.
                other = self._again()
            if other is not None:
                lost(f"{other} drives this sweep now; this driver stops")
                return

    def _again(self) -> str | None:
        try:
            return self.take()
        except ClusterError:
            return None

    def _last(self, snapshot: Snapshot) -> None:
        """Leave the end where followers find it, for as long as this driver lives."""
        try:
            ray.get(self._actor.end.remote(self.who, _text(snapshot)), timeout=ANSWER_S)
        except RayError:
            return


def _text(snapshot: Snapshot) -> bytes:
    return msgspec.json.encode(snapshot)


class _Lease:
    """Who drives, since when, and what it said last."""

    def __init__(self) -> None:
        self._who: str | None = None
        self._renewed = 0.0
        self._text = b""
        self._ended = False

    def take(self, who: str) -> str | None:
        free = self._who is None or self._ended or time.monotonic() - self._renewed > TTL_S
        if free or self._who == who:
            self._who, self._renewed, self._ended = who, time.monotonic(), False
            return None
        return self._who

    def renew(self, who: str, text: bytes) -> str | None:
        other = self.take(who)
        if other is None:
            self._text = text
        return other

    def end(self, who: str, text: bytes) -> None:
        if self.renew(who, text) is None:
            self._ended = True

    def look(self) -> tuple[bytes, bool]:
        return self._text, self._ended or time.monotonic() - self._renewed > TTL_S
