"""Which records make up a sweep, each under the name that its manifest gives it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from joulemark.warehouse.errors import BadInput, WarehouseError
from joulemark.warehouse.query.groups import GROUPS
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.columns import INSTANT
from joulemark.warehouse.schema.trial import Trace, TrialManifest
from joulemark.warehouse.store.batches import write_batch
from joulemark.warehouse.store.layout import KEPT, LOGS, SWEEPS, manifest_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import differs, digest, instant_column, read_rows, write_table


@dataclass(frozen=True)
class Piece:
    """One file: its name below the warehouse and what is in it."""

    name: str
    content: bytes


def manifests_of(snapshot: Snapshot, sweep: str) -> list[TrialManifest]:
    """Return the manifests of a sweep, duplicates too. Raises BadInput where there is none."""
    table = snapshot.table
    names = table.filter(pc.equal(table["sweep"], sweep))["trial"].to_pylist()
    if not names:
        there = sorted(set(table["sweep"].to_pylist()))
        raise BadInput(f"no trial of a sweep {sweep!r} is here; there are {', '.join(there) or 'none at all'}")
    return [snapshot.manifest(n) for n in sorted(names)]


def pieces(snapshot: Snapshot, manifests: list[TrialManifest]) -> Iterator[Piece]:
    """Yield all files of these trials; records out of a pack as they were before. The manifests come last.

    A trace that is not there any more, because it was dropped, is left out. Raises WarehouseError where one does not
    have the content that its manifest says.
    """
    warehouse = snapshot.warehouse
    sweeps = {m.sweep for m in manifests}
    for name in warehouse.list(SWEEPS):
        if name.split("/")[1] in sweeps:
            yield Piece(name, warehouse.read(name))
    for name in sorted(_beside(snapshot, manifests)):
        yield Piece(name, warehouse.read(name))
    for trace in sorted({t.path: t for m in manifests for t in m.traces}.values(), key=lambda t: t.path):
        if trace.path in snapshot.footers:
            piece = Piece(trace.path, warehouse.read(trace.path))
            check(trace, pq.read_table(pa.BufferReader(piece.content)))
            yield piece
        elif trace.path in snapshot.replaced:
            yield _out_of(snapshot.replaced[trace.path], warehouse, trace)
    yield from _kept(snapshot, {m.trial for m in manifests})
    for manifest in manifests:
        name = manifest_file(manifest.trial)
        yield Piece(name, warehouse.read(name))


def check(trace: Trace, table: pa.Table) -> None:
    """Raise WarehouseError where a table is not what its digest says."""
    wrong = differs(trace, digest(DATASETS[trace.dataset], trace.path, table))
    if wrong:
        raise WarehouseError(f"{trace.path}: not the content that its manifest tells of: {wrong}")


def _beside(snapshot: Snapshot, manifests: list[TrialManifest]) -> set[str]:
    """Return files that belong to the nodes and engine starts of the trials."""
    nodes = {p.node for m in manifests for p in m.nodes}
    logs = {f"{LOGS}/{m.engine.start_id}.log" for m in manifests if m.engine is not None}
    found = {n for d in ("nodes", "clocks") for n in snapshot.files[d] if n.split("/")[1] in nodes}
    return found | {n for n in logs if snapshot.warehouse.exists(n)}


def _out_of(pack: str, warehouse: Warehouse, trace: Trace) -> Piece:
    """Return the file as it was before it went into a pack: its node's rows of its time, or its trial's."""
    dataset = DATASETS[trace.dataset]
    table = read_rows(warehouse, dataset, pack)
    if "trial" in table.column_names:
        stem = trace.path.rsplit("/", 1)[1].removesuffix(".parquet")
        table = table.filter(pc.equal(table["trial"], stem))
    elif trace.first_us is not None and trace.last_us is not None:
        instant = table[instant_column(table)]
        low, high = (pa.scalar(v, pa.int64()).cast(INSTANT) for v in (trace.first_us, trace.last_us))
        table = table.filter(pc.and_(pc.greater_equal(instant, low), pc.less_equal(instant, high)))
    check(trace, table)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Warehouse.at(folder)
        write_table(scratch, dataset, trace.path, table)
        return Piece(trace.path, scratch.read(trace.path))


def _kept(snapshot: Snapshot, trials: set[str]) -> Iterator[Piece]:
    """Yield what was kept of trials whose traces were dropped."""
    warehouse = snapshot.warehouse
    for group, datasets in GROUPS.items():
        for batch in snapshot.batches[group]:
            mine = sorted(trials.intersection(batch.trials))
            if batch.root != KEPT or not mine:
                continue
            tables = {}
            for dataset in datasets:
                table = pq.read_table(warehouse.path(batch.file(dataset)), filesystem=warehouse.filesystem)
                tables[dataset] = table.filter(pc.is_in(table["trial"], pa.array(mine)))
            with tempfile.TemporaryDirectory() as folder:
                scratch = Warehouse.at(folder)
                written = write_batch(scratch, group, batch.definition, mine, tables, root=KEPT)
                for name in (*map(written.file, written.sizes), written.record):
                    yield Piece(name, scratch.read(name))
