"""Workloads with names. Lengths are fixed, so that every request asks the same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Lengths of one kind of traffic, in tokens, and where they come from."""

    input_tokens: int
    output_tokens: int
    source: str


_INFERENCEX = "one of the three input/output lengths of SemiAnalysis InferenceX (InferenceMAX)"

PRESETS: dict[str, Preset] = {
    "chat": Preset(1024, 1024, f"{_INFERENCEX}: 1k/1k"),
    "reasoning": Preset(1024, 8192, f"{_INFERENCEX}: 1k/8k"),
    "summarisation": Preset(8192, 1024, f"{_INFERENCEX}: 8k/1k"),
}
