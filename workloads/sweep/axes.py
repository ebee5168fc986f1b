"""The matrix of a sweep file: its axes, with ranges and links."""

from __future__ import annotations

from typing import Any

from joulemark.workloads.document import Item
from joulemark.workloads.sweep.engine_fields import is_mapping
from joulemark.workloads.sweep.model import Axis, Exclusion, Inclusion
from joulemark.workloads.sweep.values import (
    DOTTED,
    LINK,
    axis_name,
    axis_value,
    check_axis_name,
    parallel_fields,
)
from joulemark.workloads.sweep.workload_fields import workload_value

RANGE_LIMIT = 1000
"""A range of more values than this is a slip of the pen."""


def read_axes(matrix: Item) -> tuple[Axis, ...]:
    """Return the axes in the order of the file. Raises BadInput where an axis is unknown, empty or given twice."""
    axes: list[Axis] = []
    taken: dict[str, str] = {}
    for key, item in matrix.mapping("matrix as a mapping of axes").items():
        if key != LINK:
            check_axis_name(key, matrix)
        axis = Axis(axis_name(key), _values(key, item), matrix.keys[key])
        for name in _names(axis):
            if name in taken:
                raise Item(None, axis.where).error(f"the axis {name!r} was already given at {taken[name]}")
            taken[name] = axis.where
        axes.append(axis)
    return tuple(axes)


def read_exclusions(item: Item) -> tuple[Exclusion, ...]:
    """Return the entries of ``exclude``."""
    return tuple(Exclusion(_conditions(entry), entry.where) for entry in item.elements())


def read_inclusions(item: Item, axes: tuple[Axis, ...]) -> tuple[Inclusion, ...]:
    """Return the entries of ``include``, each of which names every axis of the matrix."""
    wanted = [name for axis in axes for name in _names(axis)]
    found = []
    for entry in item.elements():
        values = _point(entry, "an include entry as a mapping of axes")
        for name in wanted:
            if name not in values:
                raise entry.error(f"this include entry lacks the axis {name!r}: it must name every axis of the matrix")
        found.append(Inclusion(values, entry.where))
    return tuple(found)


def _names(axis: Axis) -> list[str]:
    if axis.name != LINK:
        return [axis.name]
    return list(dict.fromkeys(name for value in axis.values for name in value))


def _values(axis: str, item: Item) -> tuple[Any, ...]:
    if _is_range(axis, item):
        return _range(axis, item)
    values: list[Any] = []
    for element in item.elements():
        if _is_range(axis, element):
            values += _range(axis, element)
        else:
            values.append(_point(element, "a link as a mapping of axes") if axis == LINK else axis_value(axis, element))
    if not values:
        raise item.error(f"the axis {axis!r} has no values")
    return tuple(values)


def _point(item: Item, what: str) -> dict[str, Any]:
    point: dict[str, Any] = {}
    for key, value in item.mapping(what).items():
        check_axis_name(key, item)
        point[axis_name(key)] = axis_value(key, value)
    if not point:
        raise item.error(f"expected {what}, found an empty one")
    return point


def _is_range(axis: str, item: Item) -> bool:
    numeric = axis in ("concurrency", "power_limit_w", "rate", "burstiness") or axis.startswith(DOTTED)
    return numeric and isinstance(item.value, dict) and not is_mapping(axis.removeprefix("engine."))


def _range(axis: str, item: Item) -> tuple[float, ...]:
    fields = item.fields(("from", "to", "times", "plus"), "range", required=("from", "to"))
    if ("times" in fields) == ("plus" in fields):
        raise item.error("a range needs either 'times' or 'plus': {from: 1, to: 64, times: 2}")
    start, end = fields["from"].number("from"), fields["to"].number("to")
    by_times = "times" in fields
    step = fields["times" if by_times else "plus"]
    size = step.number("times" if by_times else "plus")
    if size <= (1 if by_times else 0) or (by_times and start == 0):
        raise step.error("a range must grow: 'times' over 1 (from above 0), or 'plus' over 0")
    if end < start:
        raise item.error(f"a range must grow: it starts at {start:g} and ends at {end:g}")
    values: list[float] = []
    value = start
    while value <= end * (1 + 1e-9) and len(values) <= RANGE_LIMIT:
        values.append(value)
        value = start * size ** len(values) if by_times else start + size * len(values)
    if len(values) > RANGE_LIMIT:
        raise item.error(f"this range has more than {RANGE_LIMIT} values")
    return tuple(axis_value(axis, Item(_whole(v), item.where)) for v in values)


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else round(value, 12)


def _conditions(entry: Item) -> dict[str, tuple[Any, ...]]:
    conditions: dict[str, tuple[Any, ...]] = {}
    for key, item in entry.mapping("an exclude entry as a mapping of axes").items():
        check_axis_name(key, entry)
        conditions[axis_name(key)] = tuple(_condition(key, element) for element in item.elements())
    if not conditions:
        raise entry.error("an empty exclude entry would exclude everything")
    return conditions


def _condition(axis: str, item: Item) -> Any:
    """Part of a parallel or workload is enough to match; all else is an axis value."""
    if axis == "parallel":
        return parallel_fields(item)
    if axis == "workload":
        ask = workload_value(item)
        return {**ask.fields, **({"request": ask.request} if ask.request else {})}
    return axis_value(axis, item)
