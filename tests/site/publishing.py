"""What the tests publish: trials with hostile names, and how."""

from __future__ import annotations

import pyarrow as pa
from synthetic import Meter, Spec

from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.site.options import Options
from joulemark.warehouse.site.publish import publish
from joulemark.warehouse.store.parquet import write_table

HOSTILE = "<img src=x onerror=alert(1)>\"'&`| =cmd"
SCRIPT = "</script><script>alert(2)</script>"
ERROR = "cannot open /home/alice/models/x.gguf at 10.1.2.3 <b onclick=alert(3)>here</b> on rack7"
GPU = {
    "accelerator": "NVIDIA H100",
    "devices": ("GPU-aaaa",),
    "nodes": ("rack7",),
    "meters": (Meter("nvml", "GPU-aaaa", "gpu_board", "counter", 100_000, 100_000),),
}
SPECS = [
    Spec(),
    Spec(quantization="q4_0", busy_w=40.0),
    Spec(quantization="q4_0", busy_w=40.1, concurrency=4),
    Spec(model="tiny-moe", architecture="moe", busy_w=30.0, concurrency=4, chunk=4),
    Spec(model="tiny-moe", architecture="moe", busy_w=330.0, loaded_w=90, concurrency=8, **GPU),
    Spec(busy_w=430.0, loaded_w=95, concurrency=8, **GPU),
    Spec(busy_w=415.0, loaded_w=91, concurrency=4, quantization="q4_0", **{**GPU, "accelerator": "L4 <i>x"}),
    Spec(model="two-nodes", busy_w=33.0, nodes=("node-a",)),
    Spec(model="two-nodes", busy_w=34.0, nodes=("node-b",)),
    Spec(model="two-nodes", busy_w=36.0, nodes=("node-a",), quantization="q4_0"),
    Spec(model="two-nodes", busy_w=37.5, nodes=("node-b",), quantization="q4_0"),
    # A cell whose prompts and answers were measured alone too.
    Spec(input_tokens=70, busy_w=60.0),
    Spec(input_tokens=70, busy_w=90.0, output_tokens=1),
    Spec(input_tokens=8, busy_w=40.0),
    Spec(model=HOSTILE, busy_w=44.0, concurrency=4, sweep=SCRIPT),
]


TASK = "sums <b>"
SCORES = (("tiny-dense", "q8_0", 0.8), ("tiny-dense", "q4_0", 0.5), ("two-nodes", "q8_0", 0.9))


def scored(warehouse):
    """Add scores in a task for some of the models."""
    schema = DATASETS["quality"].arrow
    row = dict.fromkeys(schema.names) | {"kv_type": "f16", "task": TASK, "samples": 100, "source": "test"}
    rows = [row | {"model": m, "quantization": q, "score": s} for m, q, s in SCORES]
    write_table(warehouse, DATASETS["quality"], "quality/test.parquet", pa.Table.from_pylist(rows, schema=schema))


def published(warehouse, folder, assets, **options):
    """Publish a warehouse and return the folder."""
    with open_warehouse(warehouse, read_only_user=False, threads=1) as connection:
        publish(connection, folder, assets, Options(**options))
    return folder
