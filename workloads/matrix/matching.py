"""Whether an ``exclude`` entry means a cell."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from joulemark.workloads.cell import EngineRef
from joulemark.workloads.engines.catalogue import engine_named
from joulemark.workloads.matrix.cells import Candidate, CellMaker
from joulemark.workloads.matrix.points import satisfies
from joulemark.workloads.sweep.model import ArgValue, EngineAsk, Exclusion, ModelAsk, Selection
from joulemark.workloads.sweep.values import LOAD_AXES


def excludes(exclusion: Exclusion, candidate: Candidate, maker: CellMaker) -> bool:
    """Whether every axis that the entry names has one of the values that it gives. Raises UnknownModel."""
    return all(
        any(_agrees(axis, value, candidate, maker) for value in alternatives)
        for axis, alternatives in exclusion.conditions.items()
    )


def _agrees(axis: str, wanted: Any, candidate: Candidate, maker: CellMaker) -> bool:
    deployment = candidate.cell.deployment
    if axis == "model":
        return _is_model(wanted, candidate, maker)
    if axis == "engine":
        return _is_engine(wanted, candidate)
    if axis == "parallel":
        return _has_fields(asdict(deployment.parallel), wanted)
    if axis == "workload":
        return _has_fields(candidate.asked.effective, wanted)
    if axis == "kv_type" and wanted == "auto":
        wanted = engine_named(deployment.engine.name).default_kv_type
    if axis == "accelerator" and wanted == "any":
        wanted = maker.accelerator(engine_named(deployment.engine.name), "any")
    return bool(_value(axis, candidate) == wanted)


def _value(axis: str, candidate: Candidate) -> Any:
    deployment = candidate.cell.deployment
    kind, _, name = axis.partition(".")
    if kind == "engine":
        return _argument(deployment.engine, name)
    if kind == "request":
        return candidate.asked.request.get(name)
    return candidate.asked.effective.get(axis) if axis in LOAD_AXES else getattr(deployment, axis)


def _is_model(wanted: ModelAsk | Selection, candidate: Candidate, maker: CellMaker) -> bool:
    model = candidate.model
    if isinstance(wanted, Selection):
        return satisfies(candidate.facts, model.source, wanted)
    reference, _ = maker.model(wanted)
    same = (reference.source, reference.location) == (model.source, model.location)
    revision = reference.revision in (None, model.revision)
    return same and revision and wanted.weights in (None, model.weights)


def _is_engine(wanted: EngineAsk, candidate: Candidate) -> bool:
    engine = candidate.cell.deployment.engine
    args = all(_argument(engine, key) == value for key, value in wanted.args.items())
    return wanted.name == engine.name and wanted.version in (None, engine.version) and args


def _argument(engine: EngineRef, key: str) -> ArgValue:
    """The value of an argument, a mapping where it has fields."""
    name = engine_named(engine.name).argument_name(key)
    fields = {k.removeprefix(f"{name}."): v for k, v in engine.args.items() if k.startswith(f"{name}.")}
    return fields or engine.args.get(name)


def _has_fields(fields: dict[str, Any], wanted: dict[str, Any]) -> bool:
    for key, want in wanted.items():
        have = fields.get(key)
        same = want.items() <= have.items() if isinstance(want, dict) and isinstance(have, dict) else have == want
        if not same:
            return False
    return True
