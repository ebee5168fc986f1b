"""Precisions of weights and of the KV cache: what they are, and what engines and accelerators they need."""

from joulemark.workloads.precision.kv import KV_TYPES, KvType, kv_words
from joulemark.workloads.precision.weights import (
    QUANTIZATIONS,
    UNQUANTIZED,
    EngineNeeds,
    Precision,
    is_a,
    quantizations_of,
)

__all__ = [
    "KV_TYPES",
    "QUANTIZATIONS",
    "UNQUANTIZED",
    "EngineNeeds",
    "KvType",
    "Precision",
    "is_a",
    "kv_words",
    "quantizations_of",
]
