"""Keeps the number of built files small: small batches become large ones, and what does not count any more goes."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.query.groups import GROUPS, definition
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.store.batches import BUILT_ROOT, Batch, write_batch
from joulemark.warehouse.store.location import Warehouse

BATCHES_AT_MOST = 24
SMALL = 4096
"""Batches of fewer trials than this are put together, once there are more than ``BATCHES_AT_MOST`` of them."""
WRITING_S = 600
"""A built file without a record may be one that another process is about to record, for this long."""


def merge(snapshot: Snapshot) -> Snapshot:
    """Put small batches together. Raises DiskFull or WarehouseError."""
    for group, datasets in GROUPS.items():
        small = [b for b in snapshot.batches[group] if b.root == BUILT_ROOT and len(b.trials) < SMALL]
        if len(small) > BATCHES_AT_MOST:
            snapshot = _merged(snapshot, group, datasets, small)
    return snapshot


def _merged(snapshot: Snapshot, group: str, datasets: tuple[str, ...], small: list[Batch]) -> Snapshot:
    warehouse = snapshot.warehouse
    tables = {d: _together(warehouse, d, [b.file(d) for b in small]) for d in datasets}
    lacking = {t: names for b in small for t, names in b.lacking.items()}
    inputs = {k: v for b in small for k, v in b.inputs.items()}
    trials = [t for b in small for t in b.trials]
    batch = write_batch(warehouse, group, definition(group), trials, tables, lacking=lacking, inputs=inputs)
    gone = {n for b in small for n in (b.record, *map(b.file, b.sizes))}
    batches = (*(b for b in snapshot.batches[group] if b not in small), batch)
    files = {d: tuple(sorted(b.file(d) for b in batches)) for d in datasets}
    return replace(
        snapshot,
        files=snapshot.files | files,
        batches=snapshot.batches | {group: batches},
        left=(*snapshot.left, *sorted(gone)),
    )


def without(snapshot: Snapshot, trials: Collection[str]) -> Snapshot:
    """Take trials out of the built batches that hold them; the rows of others stay, and so does what is kept."""
    warehouse = snapshot.warehouse
    for group, datasets in GROUPS.items():
        for batch in snapshot.batches[group]:
            rest = [t for t in batch.trials if t not in trials]
            if batch.root != BUILT_ROOT or len(rest) == len(batch.trials):
                continue
            batches = [b for b in snapshot.batches[group] if b is not batch]
            if rest:
                lacking = {t: names for t, names in batch.lacking.items() if t in set(rest)}
                tables = {d: _rows_of(warehouse, batch.file(d), rest) for d in datasets}
                batches.append(
                    write_batch(warehouse, group, batch.definition, rest, tables, lacking=lacking, inputs=batch.inputs)
                )
            for name in (batch.record, *map(batch.file, batch.sizes)):
                warehouse.delete(name)
            files = {d: tuple(sorted(b.file(d) for b in batches)) for d in datasets}
            snapshot = replace(
                snapshot, files=snapshot.files | files, batches=snapshot.batches | {group: tuple(batches)}
            )
    return snapshot


def _rows_of(warehouse: Warehouse, name: str, trials: list[str]) -> pa.Table:
    table = pq.read_table(warehouse.path(name), filesystem=warehouse.filesystem)
    return table.filter(pc.is_in(table["trial"], pa.array(trials)))


def _together(warehouse: Warehouse, dataset: str, names: list[str]) -> pa.Table:
    tables = [pq.read_table(warehouse.path(n), filesystem=warehouse.filesystem) for n in names]
    table = pa.concat_tables(tables, promote_options="permissive").sort_by("trial")
    return table.cast(DATASETS[dataset].arrow) if dataset in DATASETS else table


def sweep_out(snapshot: Snapshot) -> None:
    """Delete built files that do not count any more: first the records, so that no batch ever lacks a file."""
    warehouse = snapshot.warehouse
    known = {n for bs in snapshot.batches.values() for b in bs for n in (b.record, *map(b.file, b.sizes))}
    old = {e.name for e in warehouse.entries(BUILT_ROOT) if e.mtime_ns < (time.time() - WRITING_S) * 1e9}
    recorded = {n.rsplit("/", 1)[1].removesuffix(".json") for n in snapshot.left if n.endswith(".json")}
    for name in sorted(snapshot.left, key=lambda n: (not n.endswith(".json"), n)):
        stem = name.rsplit("/", 1)[1].partition(".")[0]
        if name not in known and (stem in recorded or name in old):
            try:
                warehouse.delete(name)
            except WarehouseError:
                # Whoever may not delete may still read; the next build of someone who may does it.
                return
