"""From a sweep file to the work that is left: what `plan` shows and `run` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulemark.agents.environments.sets import known_sets
from joulemark.agents.meters.prometheus.mapping import mapping_of
from joulemark.orchestrator.estimate import Estimate, Past, estimate, past
from joulemark.orchestrator.have import Have, have
from joulemark.orchestrator.inventory import Node, accelerator_for_any, memory_of_accelerators, why_nowhere
from joulemark.orchestrator.learnt import failures
from joulemark.orchestrator.manifests import SweepFacts
from joulemark.orchestrator.plan import Group, groups
from joulemark.warehouse.store.location import Warehouse
from joulemark.workloads.matrix import Expansion, Place, expand
from joulemark.workloads.site import Site, load_site
from joulemark.workloads.sweep import load_sweep
from joulemark.workloads.sweep.model import Sweep


@dataclass(frozen=True)
class SweepWork:
    """A sweep in a place. ``groups`` are to be run; ``homeless`` pairs groups that fit no node with the reason."""

    sweep: Sweep
    site: Site
    expansion: Expansion
    have: Have
    groups: tuple[Group, ...]
    homeless: tuple[tuple[Group, str], ...]
    nodes: tuple[Node, ...]
    known: Past

    @property
    def wanted(self) -> int:
        """Trials that the sweep asks for."""
        return len(self.expansion.cells) * self.sweep.measure.repeats * self.sweep.measure.starts

    @property
    def facts(self) -> SweepFacts:
        """What all its trials share."""
        measure = self.sweep.measure
        expansion = self.expansion
        return SweepFacts(self.sweep.name, measure.repeats, measure.starts, dict(expansion.facts), expansion.tables)

    @property
    def estimate(self) -> Estimate:
        """What it will take on these nodes."""
        return estimate(self.groups, self.known, len(self.nodes), self.site.electricity_per_kwh, self.site.pue)


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
    place = Place(
        any_accelerator=accelerator_for_any(nodes),
        memory_bytes=memory_of_accelerators(nodes),
        sets=known_sets(),
        failures=failures(warehouse),
    )
    expansion = expand(sweep, place, force=force)
    there = have(warehouse, {c.cell_id for c in expansion.cells})
    left = groups(expansion.cells, sweep.measure.repeats, sweep.measure.starts, there.valid)
    nowhere = [(g, why) for g in left if (why := why_nowhere(g.deployment, nodes))]
    placed = tuple(g for g in left if g not in [h for h, _ in nowhere])
    return SweepWork(sweep, site, expansion, there, placed, tuple(nowhere), tuple(nodes), past(warehouse))
