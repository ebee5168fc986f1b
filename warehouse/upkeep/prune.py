"""Drop raw traces of old trials. Manifests stay, and so do energies, figures and shares, below `kept/`."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from joulemark.warehouse.build.build import build
from joulemark.warehouse.build.merge import without
from joulemark.warehouse.query.groups import GROUPS
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.store.batches import BUILT_ROOT, write_batch
from joulemark.warehouse.store.layout import KEPT, PACK
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.upkeep.lock import upkeep

BY_TIME = ("power", "rounds", "device_state")
BY_TRIAL = ("requests", "engine_state")


@dataclass(frozen=True)
class Pruned:
    """Trials whose traces are dropped, the files with their bytes, and trials that are left alone, with the reason."""

    trials: int
    files: int
    bytes: int
    left_alone: tuple[str, ...]
    warnings: tuple[str, ...]


def prune(warehouse: Warehouse, before_us: int, *, dry_run: bool = False) -> Pruned:
    """Drop the traces of trials that ended before an instant [us since 1970], once their figures are safe.

    A file that also holds something later stays. A trial with records that cannot be read is left alone: its figures
    might come out otherwise. Raises DiskFull or WarehouseError.
    """
    if dry_run:
        snapshot = build(warehouse).snapshot
        trials, left_alone = _old(snapshot, before_us)
        return _report(snapshot, trials, left_alone, _files(snapshot, trials, before_us))
    with upkeep(warehouse):
        snapshot = build(warehouse).snapshot
        trials, left_alone = _old(snapshot, before_us)
        files = _files(snapshot, trials, before_us)
        _keep(snapshot, trials)
        report = _report(snapshot, trials, left_alone, files)
        without(snapshot, trials)
        for name in files:
            warehouse.delete(name)
    return report


def _old(snapshot: Snapshot, before_us: int) -> tuple[set[str], tuple[str, ...]]:
    """Return the trials that ended before the instant, without those that are left alone."""
    counted = snapshot.table.filter(pc.is_null(snapshot.table["duplicate_of"]))
    old = set(counted.filter(pc.less(counted["ended_us"], before_us))["trial"].to_pylist())
    lacking = {
        trial: names[0]
        for batches in snapshot.batches.values()
        for batch in batches
        if batch.root == BUILT_ROOT
        for trial, names in batch.lacking.items()
        if trial in old
    }
    built = [snapshot.covered(group) for group in GROUPS]
    uncovered = {t for t in old if not all(t in covered for covered in built)}
    left_alone = [f"{t}: its records {n} cannot be read" for t, n in sorted(lacking.items())]
    left_alone += [f"{t}: its figures are not built" for t in sorted(uncovered - lacking.keys())]
    return old - lacking.keys() - uncovered, tuple(left_alone)


def _files(snapshot: Snapshot, trials: set[str], before_us: int) -> list[str]:
    """Return the files that hold nothing but what is dropped."""
    found = []
    for dataset in BY_TRIAL:
        for name in snapshot.files[dataset]:
            names = [n for n in snapshot.footers[name].replaces if PACK not in n] or [name]
            if all(n.rsplit("/", 1)[1].removesuffix(".parquet") in trials for n in names):
                found.append(name)
    needed = _time_needed(snapshot, trials)
    for dataset in BY_TIME:
        for name in snapshot.files[dataset]:
            first_us, last_us = snapshot.footers[name].first_us, snapshot.footers[name].last_us
            if first_us is None or last_us is None or last_us >= before_us:
                continue
            spans = needed.get(name.split("/")[1], [])
            if not any(start <= last_us and end >= first_us for start, end in spans):
                found.append(name)
    return found


def _time_needed(snapshot: Snapshot, trials: set[str]) -> dict[str, list[tuple[int, int]]]:
    """Return the time of the trials that stay, by node."""
    needed: dict[str, list[tuple[int, int]]] = {}
    for row in snapshot.table.select(["trial", "started_us", "ended_us", "nodes"]).to_pylist():
        if row["trial"] not in trials:
            for part in row["nodes"]:
                needed.setdefault(part["node"], []).append((row["started_us"], row["ended_us"]))
    return needed


def _keep(snapshot: Snapshot, trials: set[str]) -> None:
    """Write what was built of these trials below ``kept/``."""
    warehouse = snapshot.warehouse
    for group, datasets in GROUPS.items():
        for batch in snapshot.batches[group]:
            mine = sorted(trials.intersection(batch.trials))
            if not mine or batch.root == KEPT:
                continue
            tables = {}
            for dataset in datasets:
                table = pq.read_table(warehouse.path(batch.file(dataset)), filesystem=warehouse.filesystem)
                tables[dataset] = table.filter(pc.is_in(table["trial"], pa.array(mine)))
            write_batch(warehouse, group, batch.definition, mine, tables, root=KEPT)


def _report(snapshot: Snapshot, trials: set[str], left_alone: tuple[str, ...], files: list[str]) -> Pruned:
    sizes = {e.name: e.size for d in (*BY_TIME, *BY_TRIAL) for e in snapshot.warehouse.entries(d, ".parquet")}
    dropped = sum(sizes.get(n, 0) for n in files)
    already = {t for b in snapshot.batches["figures"] if b.root == KEPT for t in b.trials}
    return Pruned(len(trials - already), len(files), dropped, left_alone, snapshot.warnings)
