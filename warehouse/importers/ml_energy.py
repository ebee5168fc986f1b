"""Task files that the ML.ENERGY leaderboard publishes (`data/tasks/<task>.json`): one configuration per row.

Their energy is that of the GPUs, by the NVML counter (Zeus), over the steady state of one run, per output token.
"""

from __future__ import annotations

from joulemark.warehouse.importers.format import Document, Format, Found, Row, Said, number, text, whole

NEEDED = ("model_id", "gpu_model", "energy_per_token_joules")
ENERGY = "NVML energy counter by Zeus, over the steady state, as published by ML.ENERGY"


def fits(document: Document) -> bool:
    """Return whether a document is such a file."""
    if not isinstance(document, dict) or "task" not in document:
        return False
    found = document.get("configurations")
    return isinstance(found, list) and all(isinstance(c, dict) for c in found) and any("gpu_model" in c for c in found)


def read(document: Document, said: Said) -> Found:
    """Return one row per configuration; those without energy or model are left out and named."""
    rows, left_out = [], []
    for i, given in enumerate(document["configurations"]):
        missing = [k for k in NEEDED if given.get(k) is None]
        energy_j = number(given.get("energy_per_token_joules"))
        if missing or not energy_j:
            left_out.append(f"configuration {i}: no usable {', '.join(missing) or 'energy_per_token_joules'}")
            continue
        rows.append(_row(document, given, energy_j, said))
    return Found(tuple(rows), (), tuple(left_out))


def _row(document: Document, given: Document, energy_j: float, said: Said) -> Row:
    total, active = (number(given.get(f"{k}_params_billions")) for k in ("total", "activated"))
    return {
        "task": text(document["task"]) or "unknown",
        "model": said.model or text(given["model_id"]),
        "quantization": said.quantization or text(given.get("weight_precision")),
        "kv_type": said.kv_type,
        "engine": said.engine or "vllm",
        "accelerator": said.accelerator or text(given["gpu_model"]),
        "devices": said.devices or whole(given.get("num_gpus")),
        "concurrency": number(given.get("max_num_seqs")),
        "architecture": None if total is None or active is None else ("dense" if total == active else "moe"),
        "boundary": "gpu",
        "energy_method": ENERGY,
        "j_per_output_token": energy_j,
        "j_per_request": number(given.get("energy_per_request_joules")),
        "output_tokens_per_s": number(given.get("output_throughput_tokens_per_sec")),
        "itl_p50_ms": number(given.get("median_itl_ms")),
        "itl_p95_ms": number(given.get("p95_itl_ms")),
        "details": given,
    }


FORMAT = Format("ml-energy", "ML.ENERGY leaderboard task files", fits, read, "tasks/gpqa.json")
