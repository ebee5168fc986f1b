"""Put small files together: a node's traces day by day, the requests of a sweep.

A pack is written whole, its content is compared with the sum of what it holds, and it appears at once under its name;
its footer names the files that it took in. From then on readers take the pack and no longer those files, which are
deleted after. A reader that was about to read one of them looks again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.query.snapshot import Snapshot, take
from joulemark.warehouse.schema import DATASETS, Dataset
from joulemark.warehouse.schema.identity import content_id
from joulemark.warehouse.schema.trial import Trace
from joulemark.warehouse.store.layout import PACK
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.packs import REPLACES_KEY
from joulemark.warehouse.store.parquet import differs, digest, read_rows, write_table
from joulemark.warehouse.upkeep.lock import upkeep

BY_NODE_AND_DAY = ("power", "rounds", "device_state", "clocks")
BY_SWEEP = ("requests", "engine_state")
DAY_US = 86_400_000_000
SETTLED_S = 3600
"""What was written less than this ago is left alone: more may come."""
LARGE_BYTES = 128 << 20
"""A pack takes in no more than this, and a file of more than half of it is left as it is."""


@dataclass(frozen=True)
class Compacted:
    """How many files became how many packs, of how many rows."""

    files: int
    packs: int
    rows: int
    warnings: tuple[str, ...] = ()


def compact(warehouse: Warehouse, *, settled_s: float = SETTLED_S, dry_run: bool = False) -> Compacted:
    """Put small files together. Safe beside readers and a running sweep. Raises DiskFull or WarehouseError."""
    snapshot = take(warehouse)
    if not snapshot.trials:
        return Compacted(0, 0, 0, snapshot.warnings)
    if dry_run:
        plan = list(_plan(snapshot, settled_s))
        return Compacted(sum(len(names) for _, names in plan), len(plan), 0, snapshot.warnings)
    with upkeep(warehouse):
        snapshot = take(warehouse)
        _finish(snapshot)
        files = packs = rows = 0
        warnings = list(snapshot.warnings)
        for dataset, names in _plan(snapshot, settled_s):
            try:
                rows += _pack(snapshot, DATASETS[dataset], names)
            except WarehouseError as error:
                warnings.append(f"left as it is: {error}")
                continue
            files, packs = files + len(names), packs + 1
    return Compacted(files, packs, rows, tuple(warnings))


def _plan(snapshot: Snapshot, settled_s: float) -> Iterator[tuple[str, list[str]]]:
    """Yield which files become one."""
    before_ns = (time.time() - settled_s) * 1e9
    sizes = _sizes(snapshot.warehouse)
    facts = snapshot.table.select(["trial", "sweep", "nodes", "started_us"]).to_pylist()
    sweeps = {row["trial"]: row["sweep"] for row in facts}
    places = {row["trial"]: (min((n["node"] for n in row["nodes"]), default=""), row["started_us"]) for row in facts}
    for dataset in (*BY_NODE_AND_DAY, *BY_SWEEP):
        groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for name in snapshot.files[dataset]:
            key = _by_day(snapshot, name) if dataset in BY_NODE_AND_DAY else _by_sweep(snapshot, name, sweeps)
            if key and snapshot.written_ns[name] <= before_ns and sizes[name] <= LARGE_BYTES // 2:
                groups[key].append(name)
        for key in sorted(groups):
            files = groups[key]
            if dataset in BY_SWEEP:
                # The trials of a node lie together, as the build step reads them.
                files = sorted(files, key=lambda n: min(places[t] for t in _trials(snapshot, n)))
            for names in _portions(files, sizes):
                yield dataset, names


def _by_day(snapshot: Snapshot, name: str) -> tuple[str, ...] | None:
    first_us = snapshot.footers[name].first_us
    return None if first_us is None else (name.split("/")[1], f"{first_us // DAY_US:08d}")


def _by_sweep(snapshot: Snapshot, name: str, sweeps: dict[str, str]) -> tuple[str, ...] | None:
    """Return the sweep of a file's trials; None for one without a manifest, which may still be written."""
    found = {sweeps.get(t) for t in _trials(snapshot, name)}
    sweep = next(iter(found)) if len(found) == 1 else None
    return None if sweep is None else (sweep,)


def _trials(snapshot: Snapshot, name: str) -> list[str]:
    names = snapshot.footers[name].replaces or (name,)
    return [n.rsplit("/", 1)[1].removesuffix(".parquet") for n in names if PACK not in n]


def _portions(names: Iterable[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    """Yield names that together are not over the size of a pack; no single ones."""
    portion: list[str] = []
    held = 0
    for name in names:
        if portion and held + sizes[name] > LARGE_BYTES:
            if len(portion) > 1:
                yield portion
            portion, held = [], 0
        portion.append(name)
        held += sizes[name]
    if len(portion) > 1:
        yield portion


def _sizes(warehouse: Warehouse) -> dict[str, int]:
    return {e.name: e.size for d in (*BY_NODE_AND_DAY, *BY_SWEEP) for e in warehouse.entries(d, ".parquet")}


def _pack(snapshot: Snapshot, dataset: Dataset, names: list[str]) -> int:
    """Write the pack, compare, delete what it holds; return its rows."""
    warehouse = snapshot.warehouse
    tables = [read_rows(warehouse, dataset, n) for n in names]
    expected = _sum([digest(dataset, n, t) for n, t in zip(names, tables, strict=True)])
    replaced = sorted({r for n in names for r in (n, *snapshot.footers[n].replaces)})
    folder = names[0].rsplit("/", 1)[0]
    name = f"{folder}/{PACK}{content_id(replaced)}.parquet"
    metadata = {REPLACES_KEY: msgspec.json.encode(replaced)}
    trace = write_table(warehouse, dataset, name, pa.concat_tables(tables), metadata=metadata)
    wrong = differs(expected, trace) or differs(expected, digest(dataset, name, read_rows(warehouse, dataset, name)))
    if wrong:
        warehouse.delete(name)
        raise WarehouseError(f"{name}: {wrong}")
    for old in names:
        warehouse.delete(old)
    return trace.rows


def _sum(traces: list[Trace]) -> Trace:
    """Return the digest of all rows together."""
    first = [t.first_us for t in traces if t.first_us is not None]
    last = [t.last_us for t in traces if t.last_us is not None]
    sums = {c: sum(t.sums[c] for t in traces) for c in traces[0].sums}
    rows = sum(t.rows for t in traces)
    return Trace(traces[0].dataset, "", rows, min(first, default=None), max(last, default=None), sums)


def _finish(snapshot: Snapshot) -> None:
    """Delete what a compaction that was broken off had put into a pack."""
    for name in snapshot.replaced:
        if name in snapshot.written_ns:
            snapshot.warehouse.delete(name)
