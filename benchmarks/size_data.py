"""A warehouse at size, with known truth: nodes of 8 GPUs, an hour each at 10 Hz, one trial per GPU.

Power is a sine around a mean, so that energy at any instant has a closed form. Files are written as a node's sampler
and compaction write them: one of power per node, and packs of requests of a thousand trials.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "warehouse"))

from synthetic import Spec, manifest

from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.trial import Interval, TrialManifest
from joulemark.warehouse.store.layout import PACK, manifest_file, segment_file, trial_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import encode
from joulemark.warehouse.store.packs import REPLACES_KEY
from joulemark.warehouse.store.parquet import write_table

S = 1_000_000
HOUR_US = 3600 * S
START_US = 1_760_000_400_000_000
GPUS, POLL_US, SAMPLES = 8, 100_000, 36_000
NODES_IN_A_PACK = 125
CONCURRENCY, REQUESTS = 8, 1250
WINDOW = Interval(START_US + 120 * S, START_US + 3480 * S)
FIRST_S, LAST_S = 60, 3540
"""Between these seconds there are requests."""
CHUNKS = 4
INSTANT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Gpu:
    """One GPU and its trial. ``place`` is its number among all."""

    place: int

    @property
    def node(self) -> str:
        """Its node."""
        return f"node-{self.place // GPUS:04d}"

    @property
    def device(self) -> str:
        """Its UUID."""
        return f"GPU-{self.place:05d}"

    @property
    def trial(self) -> str:
        """Its trial's name."""
        return self.manifest().trial

    def energy_j(self, t_us: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the true energy since the hour began."""
        since_s = (t_us - START_US) / S
        angle = 2 * np.pi / (90 + self.place % 60)
        return np.asarray(400 * since_s + 80 / angle * (1 - np.cos(angle * since_s + self.place)))

    def manifest(self) -> TrialManifest:
        """Return its trial's manifest."""
        spec = Spec(
            model=f"model-{self.place // GPUS % 200}",
            accelerator="H100",
            devices=(self.device,),
            nodes=(self.node,),
            concurrency=CONCURRENCY,
            output_tokens=CHUNKS,
            planned_repeats=8,
            sweep=f"sweep-{self.place // GPUS // NODES_IN_A_PACK:04d}",
        )
        found = manifest(spec, START_US)
        part = replace(found.nodes[0], window=WINDOW, cold_idle=None, loaded_idle=None)
        return replace(found, nodes=(part,), ended_us=START_US + HOUR_US)

    def readings(self) -> pa.Table:
        """Return an hour of readings: the counter as it is at each of them, and the mean power since the one before."""
        random = np.random.default_rng(self.place)
        t_us = START_US + np.arange(SAMPLES) * POLL_US + random.integers(0, 1_000, SAMPLES)
        energy_uj = np.rint(self.energy_j(t_us) * 1e6).astype(np.int64) + self.place * 10**9
        power_mw = np.diff(energy_uj, prepend=energy_uj[0] - 40 * S) * 1_000 // np.diff(t_us, prepend=t_us[0] - POLL_US)
        words = {"node": self.node, "meter": "nvml", "device": self.device, "scope": "gpu_board", "fidelity": "counter"}
        columns = {name: pa.array([word]).take(pa.array(np.zeros(SAMPLES, np.int8))) for name, word in words.items()}
        columns |= {
            "t": pa.array(t_us, INSTANT),
            "power_mw": pa.array(power_mw.astype(np.int32)),
            "energy_uj": pa.array(energy_uj),
            "reason": pa.nulls(SAMPLES, pa.string()),
        }
        return pa.table(columns, schema=DATASETS["power"].arrow)

    def spans(self) -> NDArray[np.int64]:
        """Return when each request was sent, had its first token and its last, in the order of sending."""
        random = np.random.default_rng(self.place + 10**6)
        each = -(-REQUESTS // CONCURRENCY)
        lasting = random.uniform(0.5, 1.5, (CONCURRENCY, each))
        lasting *= (LAST_S - FIRST_S) / lasting.sum(axis=1, keepdims=True)
        done_us = START_US + FIRST_S * S + np.rint(np.cumsum(lasting, axis=1) * S).astype(np.int64)
        sent_us = done_us - np.rint(lasting * S).astype(np.int64)
        first_us = sent_us + (done_us - sent_us) // 5
        found = np.stack([sent_us.ravel(), first_us.ravel(), done_us.ravel()])
        return found[:, np.argsort(found[0], kind="stable")][:, :REQUESTS]


def request_rows(gpu: Gpu) -> pa.Table:
    """Return the requests of one trial."""
    sent_us, first_us, last_us = gpu.spans()
    count = len(sent_us)
    gap_us = (last_us - first_us) // (CHUNKS - 1)
    gaps = np.stack([first_us - sent_us, gap_us, gap_us, last_us - first_us - 2 * gap_us], axis=1)
    offsets = pa.array(np.arange(count + 1) * CHUNKS, pa.int32())
    kind = DATASETS["requests"].arrow.field("chunk_dt_us").type
    known = {
        "trial": gpu.trial,
        "node": gpu.node,
        "status": "ok",
        "asked_input_tokens": 64,
        "asked_output_tokens": CHUNKS,
        "input_tokens": 64,
        "output_tokens": CHUNKS,
        "cached_tokens": 0,
        "untimed_tokens": 0,
    }
    columns: dict[str, pa.Array] = {
        "request": pa.array(np.arange(count), pa.int32()),
        "scheduled_at": pa.array(sent_us, INSTANT),
        "sent_at": pa.array(sent_us, INSTANT),
        "first_token_at": pa.array(first_us, INSTANT),
        "last_token_at": pa.array(last_us, INSTANT),
        "ended_at": pa.array(last_us + 500, INSTANT),
        "chunk_dt_us": pa.ListArray.from_arrays(offsets, pa.array(gaps.ravel()).cast(kind.value_type)),
    }
    schema = DATASETS["requests"].arrow
    for field in schema:
        if field.name in known:
            columns[field.name] = pa.array([known[field.name]] * count, field.type)
    return pa.table([columns.get(f.name, pa.nulls(count, f.type)) for f in schema], schema=schema)


def fill(place: str, nodes: int) -> None:
    """Write the nodes that are not there yet."""
    packs = range(0, nodes, NODES_IN_A_PACK)
    with ProcessPoolExecutor() as pool:
        list(pool.map(_write_nodes, [place] * len(packs), packs, [min(nodes, p + NODES_IN_A_PACK) for p in packs]))


def _write_nodes(place: str, begin: int, end: int) -> None:
    """Write the nodes from ``begin`` to before ``end``, the manifests last."""
    warehouse = Warehouse.at(place)
    gpus = [Gpu(i) for i in range(begin * GPUS, end * GPUS)]
    if warehouse.exists(manifest_file(gpus[-1].trial)):
        return
    for node in range(begin, end):
        mine = [Gpu(node * GPUS + i) for i in range(GPUS)]
        table = pa.concat_tables([g.readings() for g in mine])
        write_table(warehouse, DATASETS["power"], segment_file("power", mine[0].node, "hour"), table)
    replaced = msgspec.json.encode(sorted(trial_file("requests", g.trial) for g in gpus))
    name = f"requests/{PACK}{begin:06d}.parquet"
    rows = pa.concat_tables([request_rows(g) for g in gpus])
    write_table(warehouse, DATASETS["requests"], name, rows, metadata={REPLACES_KEY: replaced})
    for gpu in gpus:
        warehouse.write(manifest_file(gpu.trial), encode(gpu.manifest()))


def some(nodes: int, count: int) -> Iterator[Gpu]:
    """Yield GPUs here and there."""
    for place in np.linspace(0, nodes * GPUS - 1, count).astype(int).tolist():
        yield Gpu(place)
