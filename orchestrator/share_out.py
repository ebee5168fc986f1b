"""No more engine starts than keep all nodes busy: a group that would outlast all others is split by its cells. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from joulemark.orchestrator.forecast import best_order
from joulemark.orchestrator.inventory import Node, suits
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.plan import Group

SHARES = (float("inf"), 1.0, 0.7, 0.5, 0.35, 0.25)
TOLERANCE = 0.03
"""A few engine starts less are worth so much of the time."""
WORTH = 2.0
"""A piece must measure for at least so many times as long as its engine takes to start."""


def share_out(
    groups: Sequence[Group],
    nodes: Sequence[Node],
    cost_s: Callable[[Group], float],
    start_s: Callable[[Group], float],
    lanes: Lanes,
) -> list[Group]:
    """Return the groups, split no further than it takes for the nodes to end at about the same time.

    All repeats of a cell stay in one piece.
    """
    tried: list[tuple[float, list[Group]]] = []
    for share in SHARES:
        found = _split(groups, nodes, cost_s, start_s, lanes, share)
        if not tried or len(found) > len(tried[-1][1]):
            tried.append((best_order(found, nodes, cost_s, lanes)[0], found))
    best_s = min(wall_s for wall_s, _ in tried)
    return next(found for wall_s, found in tried if wall_s <= (1 + TOLERANCE) * best_s)


def _split(
    groups: Sequence[Group],
    nodes: Sequence[Node],
    cost_s: Callable[[Group], float],
    start_s: Callable[[Group], float],
    lanes: Lanes,
    share: float,
) -> list[Group]:
    """Split every group that takes longer than a share of the time in which the nodes could do all."""
    found: list[Group] = []
    by_accelerator: dict[str, list[Group]] = {}
    for group in groups:
        if group.nodes is None and group.deployment.parallel.nodes == 1 and share < float("inf"):
            by_accelerator.setdefault(group.deployment.accelerator, []).append(group)
        else:
            found.append(group)
    for same in by_accelerator.values():
        number = sum(lanes.of_group(n, same[0]) for n in nodes if suits(same[0].deployment, n))
        found += _shared(same, max(1, number) / share, cost_s, start_s)
    return found


def _shared(
    groups: list[Group], lanes: float, cost_s: Callable[[Group], float], start_s: Callable[[Group], float]
) -> list[Group]:
    total_s = sum(cost_s(g) for g in groups)
    numbers = itertools.count(len(groups))
    waiting = [(-cost_s(g), number, number, g) for number, g in enumerate(groups)]
    heapq.heapify(waiting)
    done: list[tuple[int, Group]] = []
    while waiting:
        minus_s, _, place, group = heapq.heappop(waiting)
        pieces = _halves(group) if -minus_s > total_s / lanes else None
        if pieces is None or any(cost_s(p) - start_s(p) < WORTH * start_s(p) for p in pieces):
            done.append((place, group))
            continue
        total_s += start_s(group)
        for piece in pieces:
            heapq.heappush(waiting, (-cost_s(piece), next(numbers), place, piece))
    return [group for _, group in sorted(done, key=lambda d: d[0])]


def _halves(group: Group) -> tuple[Group, Group] | None:
    """Return every second cell and the others, so that light and heavy loads are in both; None for a single cell."""
    cells = list(dict.fromkeys(t.cell.cell_id for t in group.trials))
    if len(cells) < 2:
        return None
    first = set(cells[::2])
    one = tuple(t for t in group.trials if t.cell.cell_id in first)
    other = tuple(t for t in group.trials if t.cell.cell_id not in first)
    return replace(group, trials=one), replace(group, trials=other)
