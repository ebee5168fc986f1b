"""What the tests publish: trials with hostile names, and how."""

from __future__ import annotations

from synthetic import Meter, Spec

from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.site.options import Options
from joulemark.warehouse.site.publish import publish

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
    Spec(model=HOSTILE, busy_w=44.0, concurrency=4, sweep=SCRIPT),
]


def published(warehouse, folder, assets, **options):
    """Publish a warehouse and return the folder."""
    with open_warehouse(warehouse, read_only_user=False, threads=1) as connection:
        publish(connection, folder, assets, Options(**options))
    return folder
