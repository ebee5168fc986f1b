"""The interface of a meter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import msgspec


@dataclass(frozen=True)
class Channel:
    """One number that a meter gives: which device, what it contains (scope), how it arises (fidelity)."""

    device: str
    scope: str
    fidelity: str


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One reading of one channel. What is missing is None, and then ``reason`` says why.

    ``at_ns`` is its instant on ``time.monotonic_ns()``; None means the middle of the read. A struct, since there are
    hundreds a second: it costs a tenth of what a dataclass does.
    """

    channel: Channel
    power_mw: int | None
    energy_uj: int | None
    reason: str | None = None
    at_ns: int | None = None


class Meter(Protocol):
    """One source of readings."""

    name: str

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What it measures."""

    def read(self) -> list[Reading]:
        """Return one reading per channel, in the order of ``channels``. A channel that fails does not raise.

        A meter that is read over the network returns what came since the last call, each with its own instant.
        """

    def describe(self) -> dict[str, object]:
        """Return what should be known about it: source of its figures, limits, versions."""


@runtime_checkable
class OwnPace(Protocol):
    """A meter that knows how often it is worth reading; the pace of every other one is measured."""

    every_s: float
