"""What a trial needs of an engine, whether it was started here or runs already."""

from __future__ import annotations

from typing import Protocol

from joulemark.warehouse.errors import EngineError
from joulemark.warehouse.schema.trial import EngineRecord
from joulemark.workloads.engines.adapter import Engine, StartFacts


class ServingProcess(Protocol):
    """The engine's main process, as far as it can be told from here."""

    @property
    def pid(self) -> int | None:
        """The root of its tree; None where that is not on this node."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; return whether it has."""


class Serving(Protocol):
    """An engine that answers requests."""

    @property
    def engine(self) -> Engine:
        """Its adapter."""

    @property
    def facts(self) -> StartFacts:
        """The model's name there, and the key."""

    @property
    def process(self) -> ServingProcess:
        """The process behind it."""

    @property
    def record(self) -> EngineRecord:
        """What is stored of it."""

    @property
    def base_url(self) -> str:
        """Where it answers."""

    def metrics(self) -> str | None:
        """Return its Prometheus page, None where it has none or does not answer."""

    def death(self) -> EngineError:
        """Return the error for an engine that ended while it should run."""

    def stop(self) -> None:
        """End it, where it was started here."""
