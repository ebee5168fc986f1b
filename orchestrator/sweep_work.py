"""From a sweep file to the work that is left: what `plan` shows and `run` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from joulemark.agents.environments.sets import known_sets
from joulemark.agents.meters.prometheus.mapping import mapping_of
from joulemark.orchestrator.carriers import carriers_among, why_no_carrier
from joulemark.orchestrator.copies import Copies, copies
from joulemark.orchestrator.estimate import Estimate, Past, estimate, group_s, past, start_s
from joulemark.orchestrator.forecast import best_order
from joulemark.orchestrator.have import Have, have
from joulemark.orchestrator.inventory import Node, accelerator_for_any, memory_of_accelerators, why_nowhere
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.learnt import failures
from joulemark.orchestrator.manifests import SweepFacts
from joulemark.orchestrator.plan import Group, groups
from joulemark.orchestrator.schedule import Schedule
from joulemark.orchestrator.share_out import share_out
from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.store.location import Warehouse
from joulemark.workloads.cell import APART, Cell
from joulemark.workloads.matrix import Expansion, Place, expand
from joulemark.workloads.site import Site, load_site
from joulemark.workloads.sweep import load_sweep
from joulemark.workloads.sweep.model import Sweep


@dataclass(frozen=True)
class SweepWork:
    """A sweep in a place. ``groups`` are to be run; ``homeless`` pairs groups that fit no node with the reason.

    ``wanted`` trials are asked for in all, those on several nodes counted on each.
    """

    sweep: Sweep
    site: Site
    expansion: Expansion
    have: Have
    groups: tuple[Group, ...]
    homeless: tuple[tuple[Group, str], ...]
    nodes: tuple[Node, ...]
    known: Past
    wanted: int
    clients: frozenset[str] = frozenset()
    """Nodes that carry loads and measure nothing; none of them is among ``nodes``."""

    @property
    def had(self) -> int:
        """Trials that are there and valid."""
        return self.wanted - sum(len(g.trials) for g in (*self.groups, *(g for g, _ in self.homeless)))

    @property
    def lanes(self) -> Lanes:
        """How many engines run on each node at the same time."""
        return Lanes.of(self.sweep.measure.isolation, self.groups)

    @property
    def facts(self) -> SweepFacts:
        """What all its trials share."""
        measure = self.sweep.measure
        expansion = self.expansion
        return SweepFacts(self.sweep.name, measure.repeats, measure.starts, dict(expansion.facts), expansion.tables)

    def cost_s(self, group: Group) -> float:
        """Return how long a group is expected to take."""
        return group_s(group, self.known)

    @property
    def schedule(self) -> Schedule:
        """The groups in the order that ends first."""
        _, wide = best_order(self.groups, self.nodes, self.cost_s, self.lanes)
        return Schedule.of(self.groups, self.cost_s, widest_first=wide)

    @property
    def estimate(self) -> Estimate:
        """What it will take on these nodes."""
        wall_s, _ = best_order(self.groups, self.nodes, self.cost_s, self.lanes)
        return estimate(self.groups, self.known, wall_s, self.site.electricity_per_kwh, self.site.pue)


def load_work(
    sweep_file: Path, site_file: Path | None, warehouse: Warehouse, nodes: Sequence[Node], *, force: bool = False
) -> SweepWork:
    """Return the work that is left of a sweep on these nodes; ``force`` keeps what cannot work by all that is known.

    Raises BadInput, UnknownModel, NewerSchema.
    """
    sweep = load_sweep(sweep_file)
    site = load_site(site_file)
    for meter in site.meters:
        mapping_of(meter)  # a wrong one is said here, and not by every node
    apart = sweep.measure.client == APART
    measuring = [n for n in nodes if not apart or n.node not in site.clients]
    place = Place(
        any_accelerator=accelerator_for_any(measuring),
        memory_bytes=memory_of_accelerators(measuring),
        sets=known_sets(),
        failures=failures(warehouse),
    )
    expansion = expand(sweep, place, force=force)
    carriers = carriers_among(nodes, site.clients, expansion.cells)
    nodes = [n for n in nodes if n.node not in carriers]
    there = have(warehouse, {c.cell_id for c in expansion.cells})
    measure = sweep.measure
    if measure.nodes != 1 and any(c.deployment.parallel.nodes > 1 for c in expansion.cells):
        raise BadInput(
            f"{sweep.source}: measure.nodes asks for every cell on several nodes, and some cells span several "
            "themselves (parallel: {nodes: ...}): put those into a sweep of their own"
        )
    near = next((p.url for p in expansion.endpoints.values() if p.is_loopback), None) if apart else None
    if near is not None:
        raise BadInput(
            f"{sweep.source}: client: apart has the load come from another node, which does not reach {near}: give the "
            "endpoint's url by a name or an address"
        )
    if apart and any(c.deployment.parallel.nodes > 1 for c in expansion.cells):
        raise BadInput(
            f"{sweep.source}: client: apart is for deployments on one node; those that span several "
            "(parallel: {nodes: ...}) have it beside their first"
        )
    if measure.nodes == 1:
        left = groups(expansion.cells, measure.repeats, measure.starts, there.valid)
        several = Copies(tuple(left), (), len(expansion.cells) * measure.repeats * measure.starts)
    else:
        several = copies(expansion.cells, measure.repeats, measure.starts, there.valid, nodes, measure.nodes)
    known = past(warehouse)
    placed, homeless = _placed(several.groups, nodes, lambda cell: why_no_carrier(cell, carriers, site.clients))
    shared = share_out(
        placed,
        nodes,
        lambda g: group_s(g, known),
        lambda g: start_s(g, known),
        Lanes.of(measure.isolation, placed),
    )
    return SweepWork(
        sweep,
        site,
        expansion,
        there,
        tuple(shared),
        (*homeless, *several.lacking),
        tuple(nodes),
        known,
        several.wanted,
        carriers,
    )


def _placed(
    left: Sequence[Group], nodes: Sequence[Node], no_carrier: Callable[[Cell], str | None]
) -> tuple[list[Group], list[tuple[Group, str]]]:
    """Return the groups that some node can hold, and the others with the reason."""
    placed, homeless = [], []
    for group in left:
        why = no_carrier(group.trials[0].cell) or why_nowhere(group.deployment, nodes)
        if why is None:
            placed.append(group)
        else:
            homeless.append((group, why))
    return placed, homeless
