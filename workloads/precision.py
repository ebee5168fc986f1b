"""The names of weight and KV-cache precisions, what they mean and how many bits each takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """One precision of the weights. ``bits`` counts scales and zero points too, per weight of a quantized layer."""

    bits: float
    weights_format: str
    meaning: str


QUANTIZATIONS: dict[str, Precision] = {
    "bf16": Precision(16, "hf", "bfloat16, as most checkpoints are published"),
    "fp16": Precision(16, "hf", "IEEE half precision"),
    "f32": Precision(32, "both", "IEEE single precision"),
    "fp8": Precision(8, "hf", "8-bit floating point (e4m3) weights and activations"),
    "int8-w8a8": Precision(8, "hf", "8-bit integer weights and activations"),
    "w4a16": Precision(4.125, "hf", "4-bit integer weights in groups of 128, 16-bit activations"),
    "awq": Precision(4.25, "hf", "activation-aware 4-bit weights in groups of 128, with zero points"),
    "gptq": Precision(4.25, "hf", "GPTQ 4-bit weights in groups of 128, with zero points"),
    "nvfp4": Precision(4.5, "hf", "4-bit floating point, 8-bit scales per 16 weights"),
    "mxfp4": Precision(4.25, "hf", "4-bit floating point, 8-bit scales per 32 weights"),
    "f16": Precision(16, "gguf", "IEEE half precision in GGUF"),
    "q8_0": Precision(8.5, "gguf", "8-bit blocks of 32 with a 16-bit scale"),
    "q6_k": Precision(6.5625, "gguf", "6-bit superblocks of 256"),
    "q5_k_m": Precision(5.7, "gguf", "mostly 5-bit superblocks of 256"),
    "q5_0": Precision(5.5, "gguf", "5-bit blocks of 32"),
    "q5_1": Precision(6, "gguf", "5-bit blocks of 32 with a minimum"),
    "q4_k_m": Precision(4.89, "gguf", "mostly 4-bit superblocks of 256"),
    "q4_k_s": Precision(4.67, "gguf", "4-bit superblocks of 256"),
    "q4_0": Precision(4.5, "gguf", "4-bit blocks of 32 with a 16-bit scale"),
    "q4_1": Precision(5, "gguf", "4-bit blocks of 32 with a scale and a minimum"),
    "q3_k_m": Precision(4.0, "gguf", "mostly 3-bit superblocks of 256"),
    "q2_k": Precision(3.16, "gguf", "mostly 2-bit superblocks of 256"),
    "iq4_nl": Precision(4.5, "gguf", "4-bit non-linear blocks of 32"),
    "iq4_xs": Precision(4.25, "gguf", "4-bit non-linear superblocks of 256"),
}
"""Bits of the GGUF types: block layouts of ggml, and for types that mix several the mean over Llama-3.1-8B,
from the table in llama.cpp's tools/quantize."""

UNQUANTIZED = frozenset({"bf16", "fp16", "f32", "f16"})

KV_TYPES: dict[str, float] = {
    "auto": 16,
    "f32": 32,
    "bf16": 16,
    "fp16": 16,
    "f16": 16,
    "fp8": 8,
    "fp8_e4m3": 8,
    "fp8_e5m2": 8,
    "q8_0": 8.5,
    "q5_1": 6,
    "q5_0": 5.5,
    "q4_1": 5,
    "q4_0": 4.5,
    "iq4_nl": 4.5,
}
"""KV-cache type -> bits per element; ``auto`` is the type of the activations, 16 bits in all engines here."""


def quantizations_of(weights_format: str) -> tuple[str, ...]:
    """Return the quantization names that models in ``weights_format`` (``hf`` or ``gguf``) can have."""
    return tuple(n for n, p in QUANTIZATIONS.items() if p.weights_format in (weights_format, "both"))
