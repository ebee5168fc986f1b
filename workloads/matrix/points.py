"""The product of the axes: points, still as the user wrote their values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.models.catalogue import catalogue
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.sweep.model import Axis, ModelAsk, Selection
from joulemark.workloads.sweep.values import LINK, PLAIN_AXES

Point = Mapping[str, Any]
"""Axis -> value."""


def product(axes: tuple[Axis, ...]) -> Iterator[dict[str, Any]]:
    """Yield every point of the matrix; model selections count as the models that they select."""
    choices = [[_one(axis.name, value) for value in _selected(axis)] for axis in axes]
    for combination in itertools.product(*choices):
        yield {name: value for part in combination for name, value in part.items()}


def axis_rank(name: str) -> tuple[int, str]:
    """Return where an axis stands in the order of cells: models first, concurrency last."""
    plain = PLAIN_AXES.index(name) if name in PLAIN_AXES else None
    if plain is not None:
        return 10 * plain, ""
    anchor = "engine" if name.startswith("engine.") else "workload"
    return 10 * PLAIN_AXES.index(anchor) + 5, name


def satisfies(facts: ModelFacts | None, source: str, selection: Selection) -> bool:
    """Whether a model is one that ``selection`` means; a model without facts never is."""
    if facts is None or selection.source not in (None, source):
        return False
    return (
        selection.architecture in (None, facts.architecture)
        and selection.total_params.holds(facts.total_params)
        and selection.active_params.holds(facts.active_params)
    )


def _one(axis: str, value: Any) -> dict[str, Any]:
    return dict(value) if axis == LINK else {axis: value}


def _selected(axis: Axis) -> list[Any]:
    if axis.name == "model":
        return [ask for value in axis.values for ask in _asks(value)]
    if axis.name == LINK:
        return [{**v, "model": ask} if "model" in v else v for v in axis.values for ask in _asks(v.get("model"))]
    return list(axis.values)


def _asks(value: Any) -> list[Any]:
    """Return the models of a selection, anything else as it is."""
    if not isinstance(value, Selection):
        return [value]
    source = value.source or "hub"
    chosen = [e for e in catalogue().values() if e.source == source and satisfies(e.facts, e.source, value)]
    if not chosen:
        raise BadInput(f"{value.where}: no model of the catalogue is what this selection asks for")
    return [ModelAsk(entry.name, where=value.where) for entry in chosen]
