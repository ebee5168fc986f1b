"""What may stand on each axis: one reader per axis, from a place in the file to a checked value."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from joulemark.workloads.cell import Parallel
from joulemark.workloads.document import Item
from joulemark.workloads.nearest import suggestion
from joulemark.workloads.precision import KV_TYPES, QUANTIZATIONS
from joulemark.workloads.sweep.engine_fields import argument, engine_value, refuse_secret
from joulemark.workloads.sweep.model import Bound, ModelAsk, Selection
from joulemark.workloads.sweep.workload_fields import burstiness_value, load_value, rate_value, workload_value

LINK = "link"
PLAIN_AXES = (
    "model",
    "quantization",
    "kv_type",
    "engine",
    "accelerator",
    "parallel",
    "power_limit_w",
    "workload",
    "load",
    "rate",
    "burstiness",
    "concurrency",
)
LOAD_AXES = ("load", "rate", "burstiness", "concurrency")
"""Axes that go over a field of the workload."""
DOTTED = ("engine.", "request.")

_SELECTION_KEYS = ("architecture", "total_params", "active_params", "source")
_MODEL_KEYS = ("name", "revision", "weights")
_COMPARISON = re.compile(r"\s*(<=|>=|<|>)\s*(\d+\.?\d*(?:[eE]\+?\d+)?)\s*([MBT])?\s*")
_SCALES = {None: 1.0, "M": 1e6, "B": 1e9, "T": 1e12}


def axis_value(axis: str, item: Item) -> Any:
    """Return the checked value of ``axis`` at ``item``. Raises BadInput with its place."""
    if axis.startswith("engine."):
        return argument(axis.removeprefix("engine."), item)
    if axis.startswith(DOTTED):
        return item.scalar(f"a text, number, true, false or null for {axis}")
    return _READERS[axis](item)


def check_axis_name(name: str, where: Item) -> None:
    """Raise BadInput where ``name``, a key of the mapping ``where``, is no axis."""
    dotted = any(name.startswith(d) and name != d for d in DOTTED)
    if dotted:
        refuse_secret(name, Item(None, where.keys[name]))
    if dotted or name in PLAIN_AXES:
        return
    known = (*PLAIN_AXES, LINK, "engine.<argument>", "request.<parameter>")
    place = Item(None, where.keys[name])
    raise place.error(f"unknown axis {name!r}: {suggestion(name, known)}")


def axis_name(key: str) -> str:
    """Return the one spelling of an axis: engine arguments without leading dashes."""
    return f"engine.{key.removeprefix('engine.').lstrip('-')}" if key.startswith("engine.") else key


def parallel_fields(item: Item) -> dict[str, int | bool]:
    """Return the fields of ``parallel`` that are given."""
    fields = item.fields(("tensor", "pipeline", "data", "expert", "nodes"), "parallel")
    return {k: v.flag(k) if k == "expert" else v.whole(k, least=1) for k, v in fields.items()}


def bound(item: Item, what: str) -> Bound:
    """Return the bound that a text such as ``<5e9``, ``>=1B`` or ``>1B,<=10B`` means."""
    low, high, closed = float("-inf"), float("inf"), [False, False]
    for part in item.text(f"{what} as a comparison such as '<5e9'").split(","):
        match = _COMPARISON.fullmatch(part)
        if match is None:
            raise item.error(f"{part!r} is no comparison; write for example '<5e9' or '>1B,<=10B'")
        limit = float(match[2]) * _SCALES[match[3]]
        if match[1].startswith("<"):
            high, closed[1] = limit, match[1] == "<="
        else:
            low, closed[0] = limit, match[1] == ">="
    return Bound(low, high, (closed[0], closed[1]))


def _model(item: Item) -> ModelAsk | Selection:
    if not isinstance(item.value, dict):
        return ModelAsk(item.text("a model name, hub id, path or selection"), where=item.where)
    if "name" not in item.value:
        return _selection(item)
    fields = item.fields(_MODEL_KEYS, "model")
    weights = fields["weights"].one_of(("real", "dummy"), "kind of weights") if "weights" in fields else None
    revision = fields["revision"].text("revision") if "revision" in fields else None
    return ModelAsk(fields["name"].text("name"), revision, weights, item.where)


def _selection(item: Item) -> Selection:
    fields = item.fields(_SELECTION_KEYS, "model selection (a single model has the key 'name')")
    if not fields:
        raise item.error("an empty selection: give architecture, total_params or active_params")
    architecture = fields.get("architecture")
    return Selection(
        architecture=architecture.one_of(("dense", "moe"), "architecture") if architecture else None,
        total_params=bound(fields["total_params"], "total_params") if "total_params" in fields else Bound(),
        active_params=bound(fields["active_params"], "active_params") if "active_params" in fields else Bound(),
        source=fields["source"].one_of(("hub", "generated"), "source") if "source" in fields else None,
        where=item.where,
    )


def _accelerator(item: Item) -> str:
    word = item.text("accelerator, such as H100, any or cpu")
    return word.lower() if word.lower() in ("any", "cpu") else word


def _power_limit(item: Item) -> int | None:
    return None if item.value is None else item.whole("power_limit_w in watts", least=1)


_READERS: dict[str, Callable[[Item], Any]] = {
    "model": _model,
    "quantization": lambda item: item.one_of(QUANTIZATIONS, "quantization"),
    "kv_type": lambda item: item.one_of(KV_TYPES, "KV-cache type"),
    "engine": engine_value,
    "accelerator": _accelerator,
    "parallel": lambda item: Parallel(**parallel_fields(item)),  # type: ignore[arg-type]
    "power_limit_w": _power_limit,
    "workload": workload_value,
    "load": load_value,
    "rate": rate_value,
    "burstiness": burstiness_value,
    "concurrency": lambda item: item.whole("concurrency", least=1),
}
