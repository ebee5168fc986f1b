"""How long opening a warehouse of many trials takes, and every view over it.

The trials are made up: 5 repeats of each cell, one GPU and its socket, 3 intervals, counter and integral, 12 requests
with 32 tokens each. Manifests and requests are written as a sweep and its compaction write them, energies as the build
step does. Figures and statistics are then built by the build step itself.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "warehouse"))

from synthetic import EPOCH_US, Spec, manifest, request_table

from joulemark.warehouse.build.build import build
from joulemark.warehouse.query.groups import ENERGY, SHARES, definition
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.batches import write_batch
from joulemark.warehouse.store.layout import manifest_file, trial_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import encode
from joulemark.warehouse.store.packs import REPLACES_KEY
from joulemark.warehouse.views import MACROS, ORDER
from joulemark.warehouse.views.docs import view_doc

REPEATS, AT_ONCE = 5, 1000
LIMIT_S = 1.0
OF_REQUESTS = ("tokens", "request_latency", "goodput")
"""Views with a row per request or chunk, or that look at every request when they are asked: no figure of trials."""
S = 1_000_000


def specs(trials: int) -> Iterator[Spec]:
    """Yield the trials: models, precisions, 50 levels of concurrency, answer lengths."""
    for i in range(trials):
        cell = i // REPEATS
        yield Spec(
            model=f"model-{cell % 20}",
            quantization=("bf16", "fp8", "int4")[cell // 20 % 3],
            accelerator="H100",
            devices=("GPU-1",),
            nodes=(f"node-{i % 50}",),
            concurrency=1 + cell // 60 % 50,
            output_tokens=32 + cell // 3000,
            repeat=i % REPEATS,
            planned_repeats=REPEATS,
            sweep=f"sweep-{i // AT_ONCE}",
        )


def energy_rows(record: TrialManifest, random: np.random.Generator) -> Iterator[dict[str, object]]:
    """Yield what the build step says of one trial's energy."""
    part = record.nodes[0]
    for scope, device, watts in (("gpu_board", "GPU-1", 400.0), ("cpu_package", "package-0", 90.0)):
        noise = float(np.exp(random.normal(0, 0.02)))
        for interval, share in (("window", 1.0), ("cold_idle", 0.1), ("loaded_idle", 0.2)):
            span = getattr(part, interval)
            for method in ("counter", "integral"):
                yield {
                    "trial": record.trial,
                    "node": part.node,
                    "interval": interval,
                    "meter": "nvml" if scope == "gpu_board" else "rapl",
                    "device": device,
                    "scope": scope,
                    "fidelity": "counter",
                    "method": method,
                    "start_at": span.start_us,
                    "end_at": span.end_us,
                    "energy_j": watts * noise * share * span.seconds,
                    "uncertainty_j": 1.0,
                    "edge_j": 1.0,
                    "transient_j": 0.0,
                    "clock_j": 0.0,
                    "gain_fraction": 0.05,
                    "offset_w": 5.0,
                    "disagreement": 0.001,
                    "chosen": method == "counter",
                    "coverage": 1.0,
                    "samples": 100,
                    "peak_w": watts,
                    "reasons": [],
                }


def fill(warehouse: Warehouse, trials: int) -> None:
    """Write the warehouse."""
    random = np.random.default_rng(1)
    shape = request_table(Spec(concurrency=4, output_tokens=32, token_us=100_000), EPOCH_US)[0].slice(0, 12)
    waiting: list[Spec] = []
    for i, spec in enumerate(specs(trials)):
        waiting.append(spec)
        if len(waiting) == AT_ONCE or i == trials - 1:
            _write(warehouse, waiting, i - len(waiting) + 1, shape, random)
            waiting = []


def _write(warehouse: Warehouse, waiting: list[Spec], first: int, shape: pa.Table, random: np.random.Generator) -> None:
    records = [manifest(spec, EPOCH_US + (first + i) * 60 * S) for i, spec in enumerate(waiting)]
    Path(warehouse.path("trials")).mkdir(parents=True, exist_ok=True)
    for record in records:
        Path(warehouse.path(manifest_file(record.trial))).write_bytes(encode(record))
    rows = [row for record in records for row in energy_rows(record, random)]
    table = pa.Table.from_pylist(rows, schema=DATASETS[ENERGY].arrow)
    names = [record.trial for record in records]
    write_batch(warehouse, ENERGY, definition(ENERGY), names, {ENERGY: table})
    shares = [
        {"trial": t, "node": "n", "request": None, "boundary": "gpu", "energy_j": 1.0, "method": "equal_active"}
        for t in names
    ]
    write_batch(
        warehouse,
        SHARES,
        definition(SHARES),
        names,
        {SHARES: pa.Table.from_pylist(shares, schema=DATASETS[SHARES].arrow)},
    )
    tables = []
    for i, record in enumerate(records):
        later = (first + i) * 60 * S
        moved = shape
        for column in ("scheduled_at", "sent_at", "first_token_at", "last_token_at", "ended_at"):
            at = pa.compute.add(shape[column].cast(pa.int64()), later).cast(shape.schema.field(column).type)
            moved = moved.set_column(moved.schema.get_field_index(column), shape.schema.field(column), at)
        moved = moved.set_column(0, moved.schema.field("trial"), pa.array([record.trial] * len(shape)))
        node = pa.array([record.nodes[0].node] * len(shape))
        tables.append(moved.set_column(1, moved.schema.field("node"), node))
    replaced = msgspec.json.encode([trial_file("requests", t) for t in names])
    whole = pa.concat_tables(tables)
    whole = whole.replace_schema_metadata({**(whole.schema.metadata or {}), REPLACES_KEY: replaced})
    Path(warehouse.path("requests")).mkdir(parents=True, exist_ok=True)
    pq.write_table(whole, warehouse.path(f"requests/pack-{first:08d}.parquet"), compression="zstd")


def timed(what: str, limit_s: float | None, seconds: float, rest: str = "") -> bool:
    """Print one figure; return whether it is within its limit."""
    over = limit_s is not None and seconds > limit_s
    limit = "" if limit_s is None else f"  limit {limit_s:g} s{'  MISSED' if over else ''}"
    print(f"{what:44} {seconds:8.3f} s{limit}  {rest}", flush=True)
    return not over


def main() -> int:
    """Measure and print; return 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--folder", help="keep the warehouse here, and use it when it is there")
    options = parser.parse_args()
    folder = options.folder or tempfile.mkdtemp(prefix="joulemark-views-")
    warehouse = Warehouse.at(folder)
    if not warehouse.exists("trials"):
        fill(warehouse, options.trials)
    good = True
    begin = time.perf_counter()
    report = build(warehouse)
    print(f"{len(report.snapshot.trials)} trials, statistics {report.statistics}, warnings {len(report.warnings)}")
    timed("first build (figures and statistics)", None, time.perf_counter() - begin)
    begin = time.perf_counter()
    connection = open_warehouse(warehouse)
    timed("opening, nothing new", None, time.perf_counter() - begin)
    extra = replace(next(specs(1)), attempt=1)
    record = manifest(extra, EPOCH_US)
    Path(warehouse.path(manifest_file(record.trial))).write_bytes(encode(record))
    begin = time.perf_counter()
    build(warehouse, only=(record.trial,))
    timed("verdict on one new trial", None, time.perf_counter() - begin)
    with connection:
        for name in ORDER:
            doc = view_doc(name)
            if name in MACROS and not doc.example:
                continue
            query = doc.example if name in MACROS else f"FROM {name}"
            if name == "electricity_kwh":
                continue
            seconds, rows = [], 0
            for _ in range(3):
                begin = time.perf_counter()
                counted = f"SELECT count(*) FROM ({query})"  # noqa: S608 -- names of ours
                rows = connection.sql(counted if name in OF_REQUESTS else query).num_rows
                seconds.append(time.perf_counter() - begin)
            limit = None if name in OF_REQUESTS else LIMIT_S
            good &= timed(name, limit, min(seconds), f"{rows} rows")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB")
    if not options.folder:
        shutil.rmtree(folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
