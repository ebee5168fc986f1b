"""Which logical CPUs the load client has for itself, so that engine and client do not take them from each other."""

from __future__ import annotations

import os
from dataclasses import dataclass

FEW = 8
"""On fewer logical CPUs nothing is fenced off: a core that waits for the client costs more than it gives."""
SHARE, MOST = 8, 8
"""Beside a GPU engine the client has one CPU in so many, and no more than so many."""


@dataclass(frozen=True)
class Cores:
    """``engine`` are the CPUs that an engine may use; ``client`` those of the load client, None: any."""

    engine: tuple[int, ...]
    client: tuple[int, ...] | None

    @classmethod
    def of(cls, cpus: tuple[int, ...], *, ranks: int, on_cpu: bool) -> Cores:
        """Share out the CPUs that we may use, in their order.

        One stays free for the load client and the sampler where each of the engine's ranks still has one; where there
        are more than a few, the engine is kept off the client's.
        """
        if len(cpus) < FEW:
            return cls(cpus[1:] if len(cpus) > ranks else cpus, None)
        number = 1 if on_cpu else min(MOST, len(cpus) // SHARE)
        return cls(cpus[number:], cpus[:number])

    @property
    def fenced(self) -> tuple[int, ...] | None:
        """The CPUs that the engine is bound to; None where it may run on any."""
        return self.engine if self.client is not None else None


def ours() -> tuple[int, ...]:
    """Return the logical CPUs that this process may use."""
    return tuple(sorted(os.sched_getaffinity(0)))
