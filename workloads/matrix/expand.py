"""The cells of a sweep: the product of its axes, less what is excluded, plus what is included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.schema.identity import canonical_json
from joulemark.workloads.cell import Cell, Deployment, Parallel
from joulemark.workloads.compatibility import TOO_LARGE, Place, incompatible, unpacked
from joulemark.workloads.engines.adapter import StartFacts
from joulemark.workloads.engines.catalogue import engine_named
from joulemark.workloads.engines.endpoint import EndpointPlace
from joulemark.workloads.learnt import learnt_reason
from joulemark.workloads.matrix.cells import Candidate, CellMaker
from joulemark.workloads.matrix.matching import excludes
from joulemark.workloads.matrix.phases import companions
from joulemark.workloads.matrix.points import axis_rank, product
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.sweep.model import Exclusion, Sweep
from joulemark.workloads.sweep.values import LOAD_AXES
from joulemark.workloads.traffic.tables import Tables
from joulemark.workloads.words import lengths_in_words, load_in_words


@dataclass(frozen=True)
class Omission:
    """What was left out and why.

    ``kind`` is ``excluded`` (the sweep file says so), ``refused`` (there is no way to ask for it), ``incompatible`` (it
    cannot work, as far as is known) or ``learnt`` (it failed before). The last two can be overruled.
    """

    what: str
    why: str
    kind: str

    @property
    def can_be_forced(self) -> bool:
        """Whether it can be run all the same."""
        return self.kind in ("incompatible", "learnt")


@dataclass(frozen=True)
class Expansion:
    """What a sweep comes to.

    ``cells`` are all different, models first and concurrency last in their order. ``facts`` are by model name, for the
    models whose shape is known. ``forced`` is what would have been left out, had the user not overruled it.
    """

    cells: tuple[Cell, ...]
    excluded: tuple[Omission, ...]
    warnings: tuple[str, ...]
    facts: Mapping[str, ModelFacts]
    tables: Tables = field(default_factory=Tables)
    """The files that its workloads name."""
    endpoints: Mapping[str, EndpointPlace] = field(default_factory=dict)
    """Where the endpoints are, by the version that is declared of them."""
    environments: Mapping[str, str] = field(default_factory=dict)
    """Environments of the user's, by engine and version."""
    forced: tuple[Omission, ...] = ()


def expand(sweep: Sweep, place: Place | None = None, *, force: bool = False) -> Expansion:
    """Return the cells of ``sweep`` in ``place``; ``force`` keeps those that cannot work by all that is known.

    Raises UnknownModel for a model that cannot be found, BadInput where an included cell cannot be asked for, where an
    engine argument is one that joulemark sets, or where no cell is left.
    """
    place = place or Place()
    maker = CellMaker(sweep, place)
    cells: dict[str, Cell] = {}
    excluded: dict[Omission, None] = {}
    forced: dict[Omission, None] = {}
    warnings: dict[str, None] = {}
    facts: dict[str, ModelFacts] = {}
    matched: set[str] = set()
    for point in product(sweep.axes):
        candidate = maker.candidate(point)
        hits = [e for e in sweep.exclude if excludes(e, candidate, maker)]
        matched.update(e.where for e in hits)
        if hits:
            what = _described_for(hits[0], candidate.cell)
            excluded[Omission(what, f"excluded at {hits[0].where}", "excluded")] = None
            continue
        found = _omission(candidate, place)
        if found is not None and not (force and found.can_be_forced):
            excluded[found] = None
            continue
        forced |= {found: None} if found is not None else {}
        _add(candidate, cells, facts)
    warnings |= {
        f"{e.where}: this exclude entry matches nothing": None for e in sweep.exclude if e.where not in matched
    }
    ordered = _ordered(list(cells.values()))
    included = _include(sweep, maker, cells, facts, warnings, forced if force else None)
    if not ordered and not included:
        first = next(iter(excluded))
        hint = " (--force overrules that)" if any(e.can_be_forced for e in excluded) else ""
        raise BadInput(f"{sweep.source}: no cell is left; the first that went: {first.what}: {first.why}{hint}")
    everything = [*ordered, *included]
    if sweep.measure.phases == "isolate":
        everything = _with_companions(everything, warnings)
    _check_commands(sweep, everything)
    warnings |= dict.fromkeys(_notes(everything))
    return Expansion(
        tuple(everything),
        tuple(excluded),
        tuple(warnings),
        facts,
        maker.files.tables,
        maker.endpoints,
        maker.environments,
        tuple(forced),
    )


def describe(cell: Cell) -> str:
    """Return a short line that names a cell to a person."""
    workload = cell.workload
    request = [f"{key}={value}" for key, value in workload.request.items()]
    words = [describe_deployment(cell.deployment), f"{lengths_in_words(workload)} tokens", *request]
    return " ".join([*words, load_in_words(workload)])


def describe_deployment(deployment: Deployment) -> str:
    """Return a short line that names a deployment to a person; what is usual is left out."""
    engine, parallel = deployment.engine, deployment.parallel
    usual = engine_named(engine.name).default_kv_type
    words = [deployment.model.name, deployment.quantization, engine.name, deployment.accelerator]
    words += [f"kv {deployment.kv_type}"] if deployment.kv_type != usual else []
    words += [describe_parallel(parallel)] if parallel != Parallel() else []
    words += [f"{deployment.power_limit_w} W"] if deployment.power_limit_w is not None else []
    return " ".join([*words, *(f"{key}={value}" for key, value in engine.args.items())])


def describe_parallel(parallel: Parallel) -> str:
    """Return parallelism as it is usually abbreviated: ``tp2 ep``, and the nodes that it spans."""
    sizes = {"tp": parallel.tensor, "pp": parallel.pipeline, "dp": parallel.data}
    words = [f"{name}{size}" for name, size in sizes.items() if size > 1]
    several = [f"over {parallel.nodes} nodes"] if parallel.nodes > 1 else []
    return " ".join([*words, *(["ep"] if parallel.expert else []), *several])


def _described_for(exclusion: Exclusion, cell: Cell) -> str:
    """One line per deployment where the entry does not look at what is asked of it."""
    asked = any(axis in ("workload", *LOAD_AXES) or axis.startswith("request.") for axis in exclusion.conditions)
    return describe(cell) if asked else describe_deployment(cell.deployment)


def _omission(candidate: Candidate, place: Place) -> Omission | None:
    """Return why the candidate cannot be measured, None where it can."""
    deployment = candidate.cell.deployment
    if candidate.refused:
        return Omission(describe_deployment(deployment), candidate.refused, "refused")
    learnt = learnt_reason(candidate.cell, place.failures)
    if learnt:
        return Omission(_described_with_load(candidate.cell), learnt, "learnt")
    why = incompatible(candidate.cell, candidate.facts, place, candidate.own_environment)
    what = (
        _described_with_load(candidate.cell) if why and why.startswith(TOO_LARGE) else describe_deployment(deployment)
    )
    return Omission(what, why, "incompatible") if why else None


def _described_with_load(cell: Cell) -> str:
    return f"{describe_deployment(cell.deployment)} {lengths_in_words(cell.workload)} {load_in_words(cell.workload)}"


def _with_companions(cells: list[Cell], warnings: dict[str, None]) -> list[Cell]:
    """Return the cells, each followed by those of its phases that are not there anyway."""
    found: dict[str, Cell] = {}
    for cell in cells:
        more = companions(cell)
        if not more:
            warnings[
                f"{describe(cell)}: phases cannot be told apart here: that takes fixed lengths in a closed loop"
            ] = None
        found |= {each.cell_id: each for each in (cell, *more) if each.cell_id not in found}
    return list(found.values())


def _notes(cells: list[Cell]) -> Iterator[str]:
    """What is to be known of cells that do run."""
    for cell in cells:
        note = unpacked(cell.deployment)
        if note:
            yield f"{describe_deployment(cell.deployment)}: {note}"


def _add(candidate: Candidate, cells: dict[str, Cell], facts: dict[str, ModelFacts]) -> bool:
    """Keep a cell. Returns whether it is new."""
    if candidate.facts is not None:
        facts[candidate.model.name] = candidate.facts
    cell_id = candidate.cell.cell_id
    new = cell_id not in cells
    cells.setdefault(cell_id, candidate.cell)
    return new


def _include(
    sweep: Sweep,
    maker: CellMaker,
    cells: dict[str, Cell],
    facts: dict[str, ModelFacts],
    warnings: dict[str, None],
    forced: dict[Omission, None] | None,
) -> list[Cell]:
    """Add the cells that ``include`` names; ``forced``, where not None, takes what is overruled."""
    added = []
    for inclusion in sweep.include:
        candidate = maker.candidate(inclusion.values)
        found = _omission(candidate, maker.place)
        if found is not None and (forced is None or not found.can_be_forced):
            hint = " (--force overrules that)" if found.can_be_forced else ""
            raise BadInput(f"{inclusion.where}: this cell cannot be included: {found.why}{hint}")
        if found is not None and forced is not None:
            forced[found] = None
        if _add(candidate, cells, facts):
            added.append(candidate.cell)
        else:
            warnings[f"{inclusion.where}: this include entry adds nothing: the cell is already there"] = None
    return added


def _ordered(cells: list[Cell]) -> list[Cell]:
    """Sort by axis after axis, the values of each in the order in which the sweep first has them."""
    factors = [_factors(cell) for cell in cells]
    names = sorted({name for each in factors for name in each}, key=axis_rank)
    places: dict[str, dict[str | None, int]] = {name: {} for name in names}
    for each in factors:
        for name in names:
            places[name].setdefault(each.get(name), len(places[name]))
    keys = [[places[name][each.get(name)] for name in names] for each in factors]
    return [cell for _, cell in sorted(zip(keys, cells, strict=True), key=lambda pair: pair[0])]


def _factors(cell: Cell) -> dict[str, str]:
    """The factors by axis, as text."""
    deployment, workload = cell.deployment, cell.workload
    found: dict[str, Any] = {
        "model": [deployment.model.name, deployment.model.revision, deployment.model.weights],
        "quantization": deployment.quantization,
        "kv_type": deployment.kv_type,
        "engine": [deployment.engine.name, deployment.engine.version],
        "accelerator": deployment.accelerator,
        "parallel": repr(deployment.parallel),
        "power_limit_w": deployment.power_limit_w,
        "workload": {k: v for k, v in workload.factors.items() if k not in ("arrivals", "load", "concurrency")},
        "load": [workload.factors["arrivals"], workload.factors.get("load")],
        "concurrency": workload.concurrency,
    }
    found |= {f"engine.{key}": value for key, value in deployment.engine.args.items()}
    return {key: canonical_json(value) for key, value in found.items()}


def _check_commands(sweep: Sweep, cells: list[Cell]) -> None:
    """Make every command line once, so that arguments that cannot be given are found before anything starts."""
    facts = StartFacts(model_path="model", port=1, slots=1, context_tokens=1)
    for deployment in {cell.deployment.deployment_id: cell.deployment for cell in cells}.values():
        try:
            engine_named(deployment.engine.name).command(deployment, facts)
        except BadInput as error:
            raise BadInput(f"{sweep.source}: {describe_deployment(deployment)}: {error}") from None
