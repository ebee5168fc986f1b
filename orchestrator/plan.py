"""From cells to an order of work: which trials are still to be had, grouped so that an engine starts once. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from joulemark.workloads.cell import Cell, Deployment
from joulemark.workloads.engines.catalogue import slots_of
from joulemark.workloads.words import lengths_in_words, load_in_words

TrialKey = tuple[str, int, int]
"""Cell, start, repeat: what makes a trial the same in another run."""


@dataclass(frozen=True)
class Wanted:
    """One trial that the sweep asks for: a repeat of a cell within a start."""

    cell: Cell
    start: int
    repeat: int

    @cached_property
    def key(self) -> TrialKey:
        """What makes it the same trial in an earlier run."""
        return self.cell.cell_id, self.start, self.repeat


@dataclass(frozen=True)
class Group:
    """One engine start and the trials that it serves, repeats interleaved.

    ``slots`` is the most requests that any of the deployment's cells has the engine work on at the same time, and
    ``context_tokens`` their longest prompt plus answer, over all cells of the sweep, so that a resumed group starts the
    engine as the first run did. ``nodes`` are the only ones that may run it, None for any that suits: of groups that
    name nodes and share deployment and start, no two run on one node.
    """

    deployment: Deployment
    start: int
    slots: int
    context_tokens: int
    trials: tuple[Wanted, ...]
    nodes: frozenset[str] | None = None

    def without(self, have: Collection[TrialKey]) -> Group | None:
        """Return the group without the trials that are there by now; None where none is left."""
        left = tuple(t for t in self.trials if t.key not in have)
        return replace(self, trials=left) if left else None


def groups(cells: Sequence[Cell], repeats: int, starts: int, have: Collection[TrialKey]) -> list[Group]:
    """Return the engine starts that are needed for the trials that are not in ``have``."""
    whole = (group(same, repeats, start) for start in range(starts) for same in by_deployment(cells))
    return [left for g in whole if (left := g.without(have))]


def group(same: Sequence[Cell], repeats: int, start: int) -> Group:
    """Return one engine start for all repeats of cells that share a deployment."""
    return Group(
        deployment=same[0].deployment,
        start=start,
        slots=max(slots_of(c) for c in same),
        context_tokens=max(c.workload.context_tokens for c in same),
        trials=tuple(Wanted(cell, start, repeat) for repeat in range(repeats) for cell in same),
    )


def label(cell: Cell) -> str:
    """Return a short name of a cell for people."""
    d, w = cell.deployment, cell.workload
    size = f" tp{d.parallel.tensor}" if d.parallel.tensor > 1 else ""
    size += f" over {d.parallel.nodes} nodes" if d.parallel.nodes > 1 else ""
    load = load_in_words(w) if w.open_loop else f"c{w.concurrency}"
    return f"{d.model.name} {d.quantization} {d.engine.name}{size} {lengths_in_words(w, '+')} {load}"


def by_deployment(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells in lists that share a deployment, in the order of the sweep."""
    same: dict[str, list[Cell]] = {}
    for cell in cells:
        same.setdefault(cell.deployment.deployment_id, []).append(cell)
    return list(same.values())
