"""What earlier trials taught: deployments that failed in a way that comes again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from joulemark.workloads.cell import Cell

LEARNT_CLASSES = frozenset({"unsupported", "engine_crashed", "out_of_memory", "bad_checkpoint"})
"""Failure classes that say something of the deployment itself. Others are of the node, the network or the moment."""


@dataclass(frozen=True)
class Failure:
    """How a deployment failed: when and where, and with how much load the engine was started.

    ``concurrency`` and ``context_tokens`` are the most that any trial of that start asked for; None where not known.
    """

    deployment: str
    failure_class: str
    error: str
    date: str
    node: str
    concurrency: int | None = None
    context_tokens: int | None = None


def learnt_reason(cell: Cell, failures: Mapping[str, Iterable[Failure]]) -> str | None:
    """Return why the cell would fail as its deployment did, or None; ``failures`` are by deployment.

    What ran out of memory may still run with less load: then only cells that ask for as much are meant.
    """
    for failure in failures.get(cell.deployment.deployment_id, ()):
        if failure.failure_class != "out_of_memory" or _asks_as_much(cell, failure):
            return f"failed on {failure.date} on {failure.node} ({failure.failure_class}): {_short(failure.error)}"
    return None


def _asks_as_much(cell: Cell, failure: Failure) -> bool:
    streams, context = cell.workload.concurrency, cell.workload.context_tokens
    fewer = streams is not None and failure.concurrency is not None and streams < failure.concurrency
    shorter = failure.context_tokens is not None and context < failure.context_tokens
    return not (fewer or shorter)


def _short(error: str, most: int = 200) -> str:
    line = " ".join(error.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
