"""How far the simulator's forecasts of published results are off.

``python benchmarks/forecasts.py`` reads ``published-figures.csv`` of the folder in ``JOULEMARK_REFERENCE`` (or given as
argument) and prints each row beside the forecast for it, as the table of docs/simulation.md. What a publication does
not say, and the model needs, is in ``WORKLOADS``, ``PLACES`` and ``CONFIGS`` below. No parameter of the model was
fitted to these rows.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.models.catalogue import catalogue
from joulemark.workloads.models.config import facts_from_config
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.simulation.build import machine_of
from joulemark.workloads.simulation.forecast import Forecast, closed_loop
from joulemark.workloads.simulation.hardware import parameters

FILE = "published-figures.csv"
GRID = (8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
"""Concurrencies among which the best is looked for where a row says no more than "minimum energy" or "Offline"."""


@dataclass(frozen=True)
class Workload:
    """Mean lengths in tokens, and where they are from."""

    source: str
    inputs: int
    outputs: int
    basis: str


# Sources of the answer lengths: the ML.ENERGY blog on its leaderboard 3.0 (means over all models: 717 for conversation,
# 6,988 for problem solving); MLCommons' reference implementations (Open Orca: 294.45 tokens per answer).
WORKLOADS = (
    Workload("ML.ENERGY v3 lm-arena-chat", 200, 717, "answers: mean over all its models; prompts: assumed"),
    Workload("ML.ENERGY v3 gpqa", 200, 6988, "answers: mean over all its models; prompts: assumed"),
    Workload("MLPerf Llama-2-70B", 200, 294, "answers: MLPerf's Open Orca; prompts: assumed"),
    Workload("MLPerf Llama-3.1-8B", 780, 73, "MLPerf's CNN/DailyMail, assumed"),
)
NAMES = {
    "Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "Llama-3.1-8B": "llama-3.1-8b",
    "Llama-3.1-70B-Instruct": "llama-3.1-70b",
    "Qwen3-32B": "qwen3-32b",
    "Qwen3-30B-A3B": "qwen3-30b-a3b",
    "gpt-oss-120b": "gpt-oss-120b",
}
PRECISIONS = {"fp4": "nvfp4"}
PLACES = {
    # Replicas where one GPU holds the model; attention replicated and experts spread for DeepSeek.
    "DeepSeek-R1": {"data": 8, "expert": True},
    "Llama-2-70B": {"data": 8},
    "Llama-3.1-8B": {"data": 8},
}
SERVER_LIMITS_S = {"Llama-2-70B": (2.0, 0.2)}
"""Time to the first token and between tokens, p99 in MLPerf's Server scenario; held against means here."""
CONFIGS: dict[str, dict[str, Any]] = {
    "Llama-2-70B": {
        "model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64,
        "num_key_value_heads": 8, "intermediate_size": 28672, "vocab_size": 32000, "tie_word_embeddings": False,
    },
    "Llama-3.1-405B-Instruct": {
        "model_type": "llama", "hidden_size": 16384, "num_hidden_layers": 126, "num_attention_heads": 128,
        "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 53248, "vocab_size": 128256,
        "tie_word_embeddings": False,
    },
    "DeepSeek-R1": {
        "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128,
        "num_key_value_heads": 128, "intermediate_size": 18432, "moe_intermediate_size": 2048,
        "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3,
        "moe_layer_freq": 1, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128, "v_head_dim": 128, "vocab_size": 129280, "tie_word_embeddings": False,
    },
}  # fmt: skip


SENSED = (8, 512)
FIELDS = {
    "compute_efficiency": ("matmul_flops_per_s", "attention_flops_per_s"),
    "memory_efficiency": ("memory_bytes_per_s",),
    "step_us": ("step_s",),
    "sequence_us": ("sequence_s",),
    "memory_bound_power": ("memory_w",),
}
"""The assumptions that one GPU depends on, and what they are in a machine."""


@dataclass(frozen=True)
class Row:
    """A published row and its forecast. Rates and watts are of all its GPUs, or of the node where it says so."""

    published: dict[str, str]
    concurrency: int
    figures: Forecast
    watts: float

    @property
    def j_per_token(self) -> float:
        """Forecast energy per answer token in the row's boundary."""
        return self.watts / self.figures.output_tokens_per_s

    def off(self, column: str, value: float) -> float | None:
        """Return by what share the forecast is over what was published; None where nothing was."""
        text = self.published[column]
        return value / float(text) - 1 if text else None


def forecast(published: dict[str, str]) -> Row:
    """Return a row with its forecast."""
    workload = next(w for w in WORKLOADS if w.source in (published["source"], f"MLPerf {published['model']}"))
    facts = facts_of(published["model"])
    deployment = deployment_of(published)
    machine = machine_of(deployment, facts)
    setting = published["setting"]
    asked = (int(setting.split()[-1]),) if setting.startswith("max_num_seqs") else GRID
    lengths = workload.inputs, workload.outputs
    found = {c: closed_loop(machine, c, c, itertools.repeat(lengths)) for c in asked}
    best = min(found, key=lambda c: found[c].watts / found[c].output_tokens_per_s)
    if setting in ("Offline", "Server"):
        best = max(found, key=lambda c: found[c].output_tokens_per_s if _fits(published, found[c]) else 0.0)
    host_w = parameters()["host_watts_per_gpu"].value * machine.devices if published["boundary"] == "node" else 0.0
    return Row(published, best, found[best], found[best].watts + host_w)


def facts_of(model: str) -> ModelFacts:
    """Return the shape of a model by its published name."""
    return facts_from_config(CONFIGS[model]) if model in CONFIGS else catalogue()[NAMES[model]].facts


def deployment_of(published: dict[str, str]) -> Deployment:
    """Return the deployment of a row, as far as it says."""
    model, gpus = published["model"], int(published["gpus"])
    parallel = Parallel(**PLACES[model]) if model in PLACES else Parallel(tensor=gpus)  # type: ignore[arg-type]
    precision = PRECISIONS.get(published["precision"], published["precision"])
    reference = ModelRef(NAMES.get(model, model), "hub", model)
    return Deployment(reference, precision, "auto", EngineRef("simulated", "1"), published["system"], parallel)


def read(folder: Path) -> list[dict[str, str]]:
    """Return the published rows."""
    with (folder / FILE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(rows: list[Row]) -> str:
    """Return the rows as the table of docs/simulation.md, with what they come to."""
    head = (
        "| published | setting | J/token | forecast | off | tokens/s | forecast | off | W | forecast | off |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    return "\n".join([head, *(_line(row) for row in rows), "", summary(rows)])


def summary(rows: list[Row]) -> str:
    """Return how far off the forecasts are, in a sentence."""
    ratios = [row.j_per_token / float(row.published["joules_per_output_token"]) for row in rows]
    apart = sorted(max(r, 1 / r) for r in ratios)
    pairs = [p for p in itertools.combinations(rows, 2) if len({r.published["boundary"] for r in p}) == 1]
    right = sum(_in_order(*p) for p in pairs)
    return (
        f"J/token: {sum(r < 1 for r in ratios)} of {len(ratios)} forecasts are too low. The median one is off by a "
        f"factor of {statistics.median(apart):.2f}, the worst by {apart[-1]:.2f}; in the geometric mean they are "
        f"{statistics.geometric_mean(ratios):.2f} of what was published. "
        f"Of {len(pairs)} pairs of one boundary, {right} are in the order that was published."
    )


def sensitivity() -> str:
    """Return a table: by how much J/token changes where an assumption is a quarter more, in two settings."""
    lines = [f"| assumption | {' | '.join(f'{c} requests' for c in SENSED)} |", "| --- | ---: | ---: |"]
    for name, fields in FIELDS.items():
        changes = []
        for concurrency in SENSED:
            usual, more = (_sensed(concurrency, fields, factor) for factor in (1.0, 1.25))
            changes.append(f"{more / usual - 1:+.1%}")
        lines.append(f"| `{name}` | {' | '.join(changes)} |")
    return "\n".join(lines)


def _in_order(one: Row, other: Row) -> bool:
    published = (float(row.published["joules_per_output_token"]) for row in (one, other))
    return (one.j_per_token < other.j_per_token) == (next(published) < next(published))


def _sensed(concurrency: int, fields: tuple[str, ...], factor: float) -> float:
    published = {"model": "Llama-3.1-8B-Instruct", "gpus": "1", "system": "H100", "precision": "bf16"}
    machine = machine_of(deployment_of(published), facts_of(published["model"]))
    changed = {name: factor * getattr(machine, name) for name in fields}
    if fields == ("memory_w",):
        # The assumption is of the whole power, of which idle is a part.
        changed = {"memory_w": factor * (machine.memory_w + machine.idle_w) - machine.idle_w}
    workload = WORKLOADS[0]
    lengths = itertools.repeat((workload.inputs, workload.outputs))
    found = closed_loop(replace(machine, **changed), concurrency, concurrency, lengths)
    return found.watts / found.output_tokens_per_s


def _fits(published: dict[str, str], figures: Forecast) -> bool:
    first_s, next_s = SERVER_LIMITS_S.get(published["model"], (float("inf"),) * 2)
    return published["setting"] != "Server" or (figures.ttft_s <= first_s and figures.itl_s <= next_s)


def _line(row: Row) -> str:
    p = row.published
    what = f"{p['source']}: {p['gpus']} x {p['system']}, {p['model']} {p['precision']}"
    setting = p["setting"] if p["setting"].startswith("max_num_seqs") else f"{p['setting']} (at {row.concurrency})"
    cells = [what, f"{setting}, {p['boundary']}"]
    columns = (
        ("joules_per_output_token", row.j_per_token, ".4f"),
        ("output_tokens_per_second", row.figures.output_tokens_per_s, ",.0f"),
        ("power_w", row.watts, ",.0f"),
    )
    for column, value, form in columns:
        off = row.off(column, value)
        cells += [
            f"{float(p[column]):{form}}" if p[column] else "",
            f"{value:{form}}",
            "" if off is None else f"{off:+.0%}",
        ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("JOULEMARK_REFERENCE")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(default) if default else None)
    options = parser.parse_args()
    if options.folder is None or not (options.folder / FILE).exists():
        parser.error(f"name the folder that holds {FILE}, or set JOULEMARK_REFERENCE to it")
    print(table([forecast(published) for published in read(options.folder)]))
    print(f"\n{sensitivity()}")


if __name__ == "__main__":
    main()
