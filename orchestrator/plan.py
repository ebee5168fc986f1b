"""From cells to an order of work: which trials are still to be had, grouped so that an engine starts once. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from joulemark.workloads.cell import Cell, Deployment
from joulemark.workloads.engines.catalogue import slots_of
from joulemark.workloads.words import lengths_in_words, load_in_words


@dataclass(frozen=True)
class Wanted:
    """One trial that the sweep asks for: a repeat of a cell within a start."""

    cell: Cell
    start: int
    repeat: int

    @property
    def key(self) -> tuple[str, int, int]:
        """What makes it the same trial in an earlier run."""
        return self.cell.cell_id, self.start, self.repeat


@dataclass(frozen=True)
class Group:
    """One engine start and the trials that it serves, repeats interleaved.

    ``slots`` is the most requests that any of the deployment's cells has the engine work on at the same time, and
    ``context_tokens`` their longest prompt plus answer, over all cells of the sweep, so that a resumed group starts the
    engine as the first run did.
    """

    deployment: Deployment
    start: int
    slots: int
    context_tokens: int
    trials: tuple[Wanted, ...]


def wanted(cells: Sequence[Cell], repeats: int, starts: int) -> Iterator[Wanted]:
    """Yield every trial that the sweep asks for, in the order of measuring."""
    for start in range(starts):
        for same in _by_deployment(cells):
            for repeat in range(repeats):
                for cell in same:
                    yield Wanted(cell, start, repeat)


def groups(cells: Sequence[Cell], repeats: int, starts: int, have: Collection[tuple[str, int, int]]) -> list[Group]:
    """Return the engine starts that are needed for the trials that are not in ``have``."""
    found = []
    for start in range(starts):
        for same in _by_deployment(cells):
            trials = tuple(
                t
                for repeat in range(repeats)
                for t in (Wanted(cell, start, repeat) for cell in same)
                if t.key not in have
            )
            if trials:
                found.append(
                    Group(
                        deployment=same[0].deployment,
                        start=start,
                        slots=max(slots_of(c) for c in same),
                        context_tokens=max(c.workload.context_tokens for c in same),
                        trials=trials,
                    )
                )
    return found


def label(cell: Cell) -> str:
    """Return a short name of a cell for people."""
    d, w = cell.deployment, cell.workload
    size = f" tp{d.parallel.tensor}" if d.parallel.tensor > 1 else ""
    load = load_in_words(w) if w.open_loop else f"c{w.concurrency}"
    return f"{d.model.name} {d.quantization} {d.engine.name}{size} {lengths_in_words(w, '+')} {load}"


def _by_deployment(cells: Sequence[Cell]) -> list[list[Cell]]:
    same: dict[str, list[Cell]] = {}
    for cell in cells:
        same.setdefault(cell.deployment.deployment_id, []).append(cell)
    return list(same.values())
