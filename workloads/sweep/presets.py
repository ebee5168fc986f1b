"""Workloads with names, and where their figures come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joulemark.workloads.sweep.workload_model import LengthAsk
from joulemark.workloads.workload import Conversation, Prefix


@dataclass(frozen=True)
class Preset:
    """The fields of one kind of traffic as a sweep file gives them, and their source; ``ours`` says what has none."""

    fields: Mapping[str, Any]
    source: str
    ours: str = ""


_INFERENCEX = "one of the three input/output lengths of SemiAnalysis InferenceX (InferenceMAX)"
_AZURE = "Azure LLM inference traces of November 2023 (Patel et al., Splitwise, ISCA 2024)"

PRESETS: dict[str, Preset] = {
    "chat": Preset({"input_tokens": 1024, "output_tokens": 1024}, f"{_INFERENCEX}: 1k/1k"),
    "reasoning": Preset({"input_tokens": 1024, "output_tokens": 8192}, f"{_INFERENCEX}: 1k/8k"),
    "summarisation": Preset({"input_tokens": 8192, "output_tokens": 1024}, f"{_INFERENCEX}: 8k/1k"),
    "rag": Preset(
        {"input_tokens": 4096, "output_tokens": 512},
        "NVIDIA's sizing guide for enterprise RAG: 4096/512, its use case with retrieved documents",
    ),
    "code": Preset(
        {
            "input_tokens": LengthAsk("lognormal", most=8192, median=1500.0, p90=4500.0),
            "output_tokens": LengthAsk("lognormal", most=512, median=13.0, p90=60.0),
        },
        f"{_AZURE}, coding: medians 1500/13",
        ours="the form of the distributions, their p90 and limits",
    ),
    "azure-chat": Preset(
        {
            "input_tokens": LengthAsk("lognormal", most=8192, median=1020.0, p90=2735.0),
            "output_tokens": LengthAsk("lognormal", most=1024, median=129.0, p90=424.0),
        },
        f"{_AZURE}, conversation: medians 1020/129, p90 2735/424",
        ours="the form of the distributions and their limits; both lengths are drawn independently",
    ),
    "agentic": Preset(
        {
            "input_tokens": LengthAsk("lognormal", least=64, most=4096, median=700.0, p90=2500.0),
            "output_tokens": LengthAsk("lognormal", least=8, most=1024, median=130.0, p90=600.0),
            "prefix": Prefix(1024, 4),
            "conversation": Conversation(8, 1.0),
        },
        "the shape (long growing contexts, short answers, almost all of the prompt seen before) of coding agents in "
        "TraceLab (arXiv 2606.30560)",
        ours="all figures: TraceLab's contexts, 150,000 tokens and 84 steps a session on average, are cut to what fits "
        "one GPU",
    ),
}
