"""Results of `vllm bench serve --save-result`: speed and latencies, no energy."""

from __future__ import annotations

from joulemark.warehouse.importers.format import Document, Format, Found, Row, Said, number, text, whole

NEEDED = ("model_id", "duration", "completed", "output_throughput", "total_output_tokens")
LATENCIES = {
    "ttft_p50_ms": ("median_ttft_ms", "p50_ttft_ms"),
    "ttft_p99_ms": ("p99_ttft_ms",),
    "tpot_p50_ms": ("median_tpot_ms", "p50_tpot_ms"),
    "itl_p50_ms": ("median_itl_ms", "p50_itl_ms"),
    "itl_p99_ms": ("p99_itl_ms",),
    "e2e_p50_ms": ("median_e2el_ms", "p50_e2el_ms"),
}
LONG = (
    "input_lens",
    "output_lens",
    "start_times",
    "ttfts",
    "itls",
    "latencies",
    "queue_times",
    "generated_texts",
    "errors",
)
"""Lists with an entry per request: they stay in the file."""


def fits(document: Document) -> bool:
    """Return whether a document is such a result."""
    return isinstance(document, dict) and all(k in document for k in NEEDED)


def read(document: Document, said: Said) -> Found:
    """Return one row. The file says neither precision nor accelerator nor engine: the user may."""
    rate = document.get("request_rate")
    row: Row = {
        "task": text(document.get("label")) or "serve",
        "published": text(document.get("date")),
        "model": said.model or text(document.get("model_id")),
        "quantization": said.quantization,
        "kv_type": said.kv_type,
        "engine": said.engine or (text(document.get("backend")) or text(document.get("endpoint_type"))),
        "accelerator": said.accelerator,
        "devices": said.devices,
        "concurrency": number(document.get("max_concurrency")),
        "arrivals": "closed" if rate == "inf" and document.get("max_concurrency") else _arrivals(rate),
        "rate_per_s": number(rate),
        "window_s": number(document.get("duration")),
        "input_tokens": whole(document.get("total_input_tokens")),
        "output_tokens": whole(document.get("total_output_tokens")),
        "requests_completed": whole(document.get("completed")),
        "requests_failed": whole(document.get("failed")),
        "output_tokens_per_s": number(document.get("output_throughput")),
        "details": {k: v for k, v in document.items() if k not in LONG},
    }
    for column, keys in LATENCIES.items():
        row[column] = next((v for k in keys if (v := number(document.get(k))) is not None), None)
    return Found((row,))


def _arrivals(rate: object) -> str | None:
    if rate == "inf":
        return "all at once"
    return None if number(rate) is None else "poisson"


FORMAT = Format("vllm-bench", "`vllm bench serve --save-result`", fits, read, "openai-inf-Qwen3-8B.json")
