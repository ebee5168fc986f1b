"""The same cells on several nodes: which nodes measure which cells, and what each of them has still to do. Pure.

A node that has begun with a deployment finishes what it began, so that each node has all repeats of a cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from joulemark.orchestrator.inventory import Node, suits
from joulemark.orchestrator.plan import Group, TrialKey, by_deployment, group
from joulemark.workloads.cell import Cell

Places = Mapping[TrialKey, AbstractSet[str]]
"""The nodes on which a trial is there and valid."""


@dataclass(frozen=True)
class Copies:
    """``groups`` are to be run, ``lacking`` pairs groups for which there are too few nodes with the reason.

    ``wanted`` trials are asked for in all, those that are there included.
    """

    groups: tuple[Group, ...]
    lacking: tuple[tuple[Group, str], ...]
    wanted: int


def copies(
    cells: Sequence[Cell], repeats: int, starts: int, there: Places, nodes: Sequence[Node], asked: int | None
) -> Copies:
    """Return the engine starts that are left where every cell is measured on ``asked`` nodes, None for all that can."""
    found: list[Group] = []
    lacking: list[tuple[Group, str]] = []
    wanted = 0
    for start in range(starts):
        for same in by_deployment(cells):
            whole = group(same, repeats, start)
            places = [n.node for n in nodes if suits(whole.deployment, n)]
            number = max(1, len(places)) if asked is None else asked
            begun = _begun(whole, places, there)[:number]
            bound = places if asked is None else begun
            groups = [*_bound(whole, bound, there), *_free(whole, places, bound, number)]
            found += groups
            short = number - len(places)
            if short > 0 and places:
                lacking += [(whole, f"asks for {number} nodes, and {len(places)} can run it")] * short
            elif short > 0:
                # Why no node can run it is said for every deployment without a place.
                found += [replace(whole, nodes=None)] * short
            wanted += number * len(whole.trials)
    return Copies(tuple(found), tuple(lacking), wanted)


def _begun(whole: Group, places: Sequence[str], there: Places) -> list[str]:
    """Return the nodes that have some of the trials, those with the most first."""
    done = {node: _done(whole, node, there) for node in places}
    return sorted((n for n in places if done[n]), key=lambda n: (-done[n], n))


def _done(whole: Group, node: str, there: Places) -> int:
    return sum(node in there.get(t.key, ()) for t in whole.trials)


def _bound(whole: Group, nodes: Sequence[str], there: Places) -> Iterator[Group]:
    for node in nodes:
        left = whole.without({t.key for t in whole.trials if node in there.get(t.key, ())})
        if left is not None:
            yield replace(left, nodes=frozenset((node,)))


def _free(whole: Group, places: Sequence[str], bound: Sequence[str], number: int) -> Iterator[Group]:
    """Yield the copies for which any other node will do."""
    others = frozenset(places) - frozenset(bound)
    for _ in range(min(number - len(bound), len(others))):
        yield replace(whole, nodes=others)
