"""Results that others measured or published."""

from __future__ import annotations

import pyarrow as pa

from joulemark.warehouse.schema.columns import INSTANT, WORD, Column, Dataset

_FLOATS = {
    "concurrency": "requests in flight at most, or on average where only that is told",
    "rate_per_s": "rate asked for [1/s]",
    "window_s": "length of the measurement [s]",
    "j_per_output_token": "energy per output token as published [J/token]",
    "j_per_request": "energy per request as published [J]",
    "output_tokens_per_s": "output rate [tokens/s]",
    "ttft_p50_ms": "time to the first token, median [ms]",
    "ttft_p99_ms": "99th percentile [ms]",
    "tpot_p50_ms": "time per output token, median [ms]",
    "itl_p50_ms": "gap between tokens, median [ms]",
    "itl_p95_ms": "95th percentile [ms]",
    "itl_p99_ms": "99th percentile [ms]",
    "e2e_p50_ms": "time to the last token, median [ms]",
}

IMPORTED = Dataset(
    name="imported",
    row="one result from another tool or publication (`joulemark import`); in no figure and no rank of ours",
    version=1,
    columns=(
        Column("format", WORD, "format of the file"),
        Column("source", WORD, "name of the file"),
        Column("sha256", WORD, "digest of the file"),
        Column("row", pa.int32(), "number of the result in the file"),
        Column("imported_at", INSTANT, "when it was taken in"),
        Column("published", pa.string(), "date as the file says it", nullable=True),
        Column("task", WORD, "task or label as the file says it"),
        Column("model", WORD, "model", nullable=True),
        Column("architecture", WORD, "`dense` or `moe`", nullable=True),
        Column("quantization", WORD, "precision of the weights", nullable=True),
        Column("kv_type", WORD, "type of the KV cache", nullable=True),
        Column("engine", WORD, "engine, or the protocol where only that is told", nullable=True),
        Column("accelerator", WORD, "accelerator", nullable=True),
        Column("devices", pa.int32(), "accelerators", nullable=True),
        Column("arrivals", WORD, "how requests arrive", nullable=True),
        Column("boundary", WORD, "what the energy contains; NULL where there is none", nullable=True),
        Column("fidelity", WORD, "`imported`: how it was measured is in `energy_method`"),
        Column("energy_method", pa.string(), "how the energy was found", nullable=True),
        Column("input_tokens", pa.int64(), "input tokens in all", nullable=True),
        Column("output_tokens", pa.int64(), "output tokens in all", nullable=True),
        Column("requests_completed", pa.int64(), "requests that ended well", nullable=True),
        Column("requests_failed", pa.int64(), "requests that failed", nullable=True),
        *(Column(name, pa.float64(), meaning, nullable=True) for name, meaning in _FLOATS.items()),
        Column("details", pa.string(), "JSON: the result as it stands in the file, without lists per request"),
    ),
    sort_by=("source", "row"),
)
