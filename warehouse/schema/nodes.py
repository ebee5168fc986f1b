"""What is known about places and models: nodes, their clocks, quality scores from outside."""

from __future__ import annotations

import pyarrow as pa

from joulemark.warehouse.schema.columns import INSTANT, WORD, Column, Dataset

NODES = Dataset(
    name="nodes",
    row="one node as an agent found it at its start",
    version=1,
    columns=(
        Column("node", WORD, "name of the node"),
        Column("boot", WORD, "boot id of its kernel"),
        Column("t", INSTANT, "when it was looked at"),
        Column("cpu", pa.string(), "CPU model name as the kernel gives it", nullable=True),
        Column("logical_cpus", pa.int32(), "logical CPUs that the agent may use"),
        Column("memory_bytes", pa.int64(), "main memory"),
        Column("accelerators", pa.list_(pa.string()), "GPU names, one per device"),
        Column("devices", pa.list_(pa.string()), "GPU UUIDs, one per device"),
        Column("driver", pa.string(), "GPU driver version", nullable=True),
        Column(
            "meters",
            pa.string(),
            "JSON: the meters, their devices, scope, fidelity, update periods as measured, cost of a read",
        ),
        Column("versions", pa.string(), "JSON: kernel, Python and library versions"),
    ),
    sort_by=("node", "t"),
)

CLOCKS = Dataset(
    name="clocks",
    row="one estimate of a node's clock offset against the sweep's reference node",
    version=1,
    columns=(
        Column("node", WORD, "node"),
        Column("boot", WORD, "boot id of its kernel"),
        Column("reference", WORD, "node that it is compared with"),
        Column("t", INSTANT, "when, on the node's clock"),
        Column("offset_us", pa.int64(), "reference clock less node clock, in microseconds"),
        Column("uncertainty_us", pa.int64(), "half the round trip of the best exchange, in microseconds"),
    ),
    sort_by=("node", "t"),
    delta=("t",),
)

QUALITY = Dataset(
    name="quality",
    row="one quality score from outside",
    version=2,
    columns=(
        Column("model", WORD, "model name as in the sweep file"),
        Column("revision", WORD, "revision of its weights", nullable=True),
        Column("quantization", WORD, "precision that was scored"),
        Column("kv_type", WORD, "type of the KV cache"),
        Column("engine", WORD, "engine that was scored", nullable=True),
        Column("task", WORD, "benchmark task; with `/metric` behind it where the metric is not the task's main one"),
        Column("metric", WORD, "what was counted as solved, as the tool names it", nullable=True),
        Column("score", pa.float64(), "share of tasks solved, 0 to 1"),
        Column("samples", pa.int32(), "number of tasks", nullable=True),
        Column("source", pa.string(), "where the score comes from"),
    ),
    sort_by=("model", "task"),
    added=((2, ("metric",)),),
)
