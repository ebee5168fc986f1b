"""The precisions of weights, from ``catalogue.yaml``, which says what its keys mean and where they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from joulemark.workloads.document import parse_document


@dataclass(frozen=True)
class EngineNeeds:
    """One precision in one engine; compute capabilities are times ten (89 is 8.9).

    ``methods`` are the engine's names for it. ``online`` is what the engine is told to make it of unquantized weights.
    ``cpu`` and ``cpu_online`` are ``all``, ``dense`` or None: the models that the CPU build runs in it.
    """

    methods: tuple[str, ...] = ()
    capability: int | None = None
    gone_at: int | None = None
    online: str | None = None
    online_capability: int | None = None
    online_of: str | None = None
    cpu: str | None = None
    cpu_online: str | None = None


@dataclass(frozen=True)
class Precision:
    """One precision of the weights. ``bits`` counts scales and zero points too, per weight of a quantized layer.

    ``weights_format`` is ``hf``, ``gguf`` or ``both``; ``layers`` is ``linear``, ``experts`` or ``none``. ``native`` is
    the compute capability from which GPUs compute in it.
    """

    bits: float
    weights_format: str
    meaning: str
    is_a: str | None = None
    layers: str = "linear"
    block: int | None = None
    native: int | None = None
    engines: Mapping[str, EngineNeeds] = field(default_factory=dict)
    sources: tuple[str, ...] = ()


def is_a(name: str, general: str) -> bool:
    """Return whether weights in ``name`` are what is meant by ``general``: itself or a special case of it."""
    return name == general or (name in QUANTIZATIONS and QUANTIZATIONS[name].is_a == general)


def quantizations_of(weights_format: str) -> tuple[str, ...]:
    """Return the quantization names that models in ``weights_format`` (``hf`` or ``gguf``) can have."""
    return tuple(n for n, p in QUANTIZATIONS.items() if p.weights_format in (weights_format, "both"))


def _tenfold(value: Any) -> int | None:
    return None if value is None else round(10 * float(value))


def _needs(fields: Mapping[str, Any]) -> EngineNeeds:
    return EngineNeeds(
        methods=tuple(fields.get("methods", ())),
        capability=_tenfold(fields.get("from")),
        gone_at=_tenfold(fields.get("below")),
        online=fields.get("online"),
        online_capability=_tenfold(fields.get("online_from", fields.get("from"))),
        online_of=fields.get("online_of"),
        cpu=fields.get("cpu"),
        cpu_online=fields.get("cpu_online"),
    )


def _precision(fields: Mapping[str, Any]) -> Precision:
    return Precision(
        bits=float(fields["bits"]),
        weights_format=fields["format"],
        meaning=fields["meaning"],
        is_a=fields.get("is_a"),
        layers=fields.get("layers", "linear"),
        block=fields.get("block"),
        native=_tenfold(fields.get("native")),
        engines={name: _needs(fields[name]) for name in ("vllm", "sglang") if name in fields},
        sources=tuple(fields.get("sources", ())),
    )


def _read() -> dict[str, Precision]:
    text = files("joulemark.workloads.precision").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    return {name: _precision(fields) for name, fields in parse_document(text, "catalogue.yaml").plain().items()}


QUANTIZATIONS: dict[str, Precision] = _read()
UNQUANTIZED = frozenset(name for name, precision in QUANTIZATIONS.items() if precision.layers == "none")
