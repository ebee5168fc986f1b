"""What is recorded while a trial runs: power, device state, requests, engine state."""

from __future__ import annotations

import pyarrow as pa

from joulemark.warehouse.schema.columns import INSTANT, WORD, Column, Dataset

POWER = Dataset(
    name="power",
    row="one reading of one meter",
    version=1,
    columns=(
        Column("node", WORD, "node that took the reading; `t` is on its clock"),
        Column("meter", WORD, "the source of readings, for example `nvml`, `rapl`, `cpu-model`"),
        Column("device", WORD, "GPU UUID, or the name of the socket or server"),
        Column("scope", WORD, "what the number contains"),
        Column("fidelity", WORD, "how the number arises"),
        Column("t", INSTANT, "midpoint of the read"),
        Column("power_mw", pa.int32(), "power in milliwatts", nullable=True),
        Column("energy_uj", pa.int64(), "cumulative energy counter in microjoules, as read", nullable=True),
        Column("reason", WORD, "why a reading is missing", nullable=True),
    ),
    sort_by=("node", "meter", "device", "scope", "t"),
    delta=("t", "energy_uj"),
    split=("power_mw",),
)

ROUNDS = Dataset(
    name="rounds",
    row="about one second of reading one meter, or of the processes that do it",
    version=1,
    columns=(
        Column("node", WORD, "node; `t` is on its clock"),
        Column(
            "meter",
            WORD,
            "the meter, or `device_state`; `sampler` and `agent` are the processes, of which only `cpu_us` is given",
        ),
        Column("t", INSTANT, "midpoint of the last read; for the processes, end of the second"),
        Column("span_us", pa.int64(), "time since the meter's row before, or since sampling began"),
        Column("rounds", pa.int32(), "reads of the meter", nullable=True),
        Column("skipped", pa.int32(), "deadlines that went by without a read", nullable=True),
        Column("late", pa.int32(), "reads that began more than 2 ms after their deadline", nullable=True),
        Column("lateness_max_us", pa.int64(), "the longest that a read began after its deadline", nullable=True),
        Column("duration_us", pa.int64(), "all reads together, from begin to end", nullable=True),
        Column("duration_max_us", pa.int64(), "the longest read", nullable=True),
        Column("readings", pa.int32(), "readings that were taken", nullable=True),
        Column("missing", pa.int32(), "readings that gave neither power nor energy", nullable=True),
        Column("failed", pa.int32(), "reads that failed as a whole", nullable=True),
        Column("error", pa.string(), "the last reason for a missing reading or a failed read", nullable=True),
        Column("cpu_us", pa.int64(), "CPU time: of the reads, or of the process; NULL where it ended", nullable=True),
    ),
    sort_by=("node", "meter", "t"),
    delta=("t",),
)

DEVICE_STATE = Dataset(
    name="device_state",
    row="slower facts about one GPU, at 1 Hz",
    version=2,
    columns=(
        Column("node", WORD, "node; `t` is on its clock"),
        Column("device", WORD, "GPU UUID"),
        Column("t", INSTANT, "midpoint of the read"),
        Column("sm_mhz", pa.int32(), "clock of the compute units", nullable=True),
        Column("mem_mhz", pa.int32(), "clock of the memory", nullable=True),
        Column("temperature_c", pa.int16(), "core temperature in degrees Celsius", nullable=True),
        Column("memory_temperature_c", pa.int16(), "temperature of its memory, likewise", nullable=True),
        Column(
            "utilization", pa.float32(), "share of time with any kernel running, 0 to 1; says little", nullable=True
        ),
        Column("sm_active", pa.float32(), "share of compute units with work, 0 to 1", nullable=True),
        Column("dram_active", pa.float32(), "share of time the memory moved data, 0 to 1", nullable=True),
        Column("tensor_active", pa.float32(), "share of time the tensor cores worked, 0 to 1", nullable=True),
        Column("memory_used_bytes", pa.int64(), "memory in use on the device", nullable=True),
        Column("power_limit_mw", pa.int32(), "enforced power limit", nullable=True),
        Column("throttle_reasons", pa.int64(), "NVML bit mask of clock event reasons", nullable=True),
        Column("foreign_processes", pa.int32(), "processes on the device that are not the deployment's", nullable=True),
    ),
    sort_by=("node", "device", "t"),
    delta=("t",),
    added=((2, ("memory_temperature_c",)),),
)

REQUESTS = Dataset(
    name="requests",
    row="one request, with its token trace",
    version=2,
    columns=(
        Column("trial", WORD, "trial the request belongs to"),
        Column("node", WORD, "node of the load client; all instants are on the clock of the engine's (first) node"),
        Column("request", pa.int32(), "number of the request in the trial, from 0"),
        Column("scheduled_at", INSTANT, "when the traffic wanted it sent"),
        Column("sent_at", INSTANT, "when it was handed to the socket"),
        Column("first_token_at", INSTANT, "arrival of the first token", nullable=True),
        Column("last_token_at", INSTANT, "arrival of the last token", nullable=True),
        Column("ended_at", INSTANT, "end of the answer, or of the attempt"),
        Column(
            "asked_input_tokens",
            pa.int32(),
            "prompt length that was sent; NULL for prompts that only the engine can count",
            nullable=True,
        ),
        Column("asked_output_tokens", pa.int32(), "answer length that was asked for"),
        Column("input_tokens", pa.int32(), "prompt tokens as the engine counts them", nullable=True),
        Column("output_tokens", pa.int32(), "answer tokens as the engine counts them", nullable=True),
        Column("cached_tokens", pa.int32(), "prompt tokens that the engine took from its cache", nullable=True),
        Column(
            "reasoning_tokens", pa.int32(), "answer tokens that were thinking, as the engine counts them", nullable=True
        ),
        Column(
            "accepted_draft_tokens",
            pa.int32(),
            "answer tokens that were drafted and accepted (speculative decoding), as the engine counts them",
            nullable=True,
        ),
        Column("untimed_tokens", pa.int32(), "answer tokens whose arrival could not be timed"),
        Column("status", WORD, "ok, truncated, failed, broken, timeout or cancelled"),
        Column("finish_reason", WORD, "why the engine ended the answer, in its words", nullable=True),
        Column("error", pa.string(), "what went wrong", nullable=True),
        Column("chunk_dt_us", pa.list_(pa.int32()), "gaps between chunks in microseconds, the first from `sent_at` on"),
        Column("chunk_tokens", pa.list_(pa.int32()), "tokens in each chunk; NULL where each held one", nullable=True),
    ),
    sort_by=("trial", "node", "request"),
    delta=("request", "scheduled_at", "sent_at", "ended_at"),
    added=((2, ("reasoning_tokens", "accepted_draft_tokens", "finish_reason")),),
)

ENGINE_STATE = Dataset(
    name="engine_state",
    row="one scrape of an engine's own counters, at 1 Hz",
    version=2,
    columns=(
        Column("trial", WORD, "trial that was running"),
        Column("node", WORD, "node of the engine; `t` is on its clock"),
        Column("t", INSTANT, "midpoint of the scrape"),
        Column("running", pa.float32(), "requests being worked on", nullable=True),
        Column("waiting", pa.float32(), "requests in the engine's queue", nullable=True),
        Column("kv_cache_usage", pa.float32(), "share of the KV cache in use, 0 to 1", nullable=True),
        Column("prompt_tokens_total", pa.int64(), "prompt tokens since the engine started", nullable=True),
        Column("generation_tokens_total", pa.int64(), "answer tokens since the engine started", nullable=True),
        Column("preemptions_total", pa.int64(), "requests put back since the engine started", nullable=True),
        Column("draft_tokens_total", pa.int64(), "tokens drafted since the engine started", nullable=True),
        Column("accepted_tokens_total", pa.int64(), "drafted tokens accepted since the engine started", nullable=True),
        Column("flops_total", pa.float64(), "floating-point operations, as the engine estimates them", nullable=True),
        Column("read_bytes_total", pa.float64(), "bytes read from memory, as the engine estimates them", nullable=True),
    ),
    sort_by=("trial", "node", "t"),
    delta=("t",),
    added=((2, ("draft_tokens_total", "accepted_tokens_total")),),
)
