"""The types of the KV cache, from ``kv_types.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from joulemark.workloads.document import parse_document

_ENGINES = ("llamacpp", "vllm", "sglang")


@dataclass(frozen=True)
class KvType:
    """One type: ``bits`` per element, the engines' words for it, and the compute capability (times ten) it needs."""

    bits: float
    meaning: str
    words: Mapping[str, str | int]
    capabilities: Mapping[str, int]


def kv_words(engine: str) -> dict[str, str | int]:
    """Return what ``engine`` calls each type that it has, by our names."""
    return {name: kind.words[engine] for name, kind in KV_TYPES.items() if engine in kind.words}


def _kind(fields: Mapping[str, Any]) -> KvType:
    needs = fields.get("from")
    by_engine = needs if isinstance(needs, dict) else {} if needs is None else dict.fromkeys(_ENGINES, needs)
    return KvType(
        bits=float(fields["bits"]),
        meaning=fields["meaning"],
        words={name: fields[name] for name in _ENGINES if name in fields},
        capabilities={name: round(10 * float(value)) for name, value in by_engine.items()},
    )


def _read() -> dict[str, KvType]:
    text = files("joulemark.workloads.precision").joinpath("kv_types.yaml").read_text(encoding="utf-8")
    return {name: _kind(fields) for name, fields in parse_document(text, "kv_types.yaml").plain().items()}


KV_TYPES: dict[str, KvType] = _read()
