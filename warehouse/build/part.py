"""The part of a warehouse that some trials rest on, so that what is computed for them does not read all the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from joulemark.warehouse.query.groups import GROUPS
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.layout import dataset_folder
from joulemark.warehouse.views import WHOLE

BY_TRIAL = ("requests", "engine_state")
"""Datasets with one file per trial."""
BY_TIME = ("power", "rounds", "device_state")
"""Datasets with many files per node, each of a stretch of time."""


def part(snapshot: Snapshot, manifests: Sequence[TrialManifest]) -> Snapshot:
    """Return the snapshot with these trials only, and with the files that may hold records of them."""
    trials = {m.trial for m in manifests}
    files = dict(snapshot.files)
    every = set(snapshot.trials)
    for dataset in BY_TRIAL:
        files[dataset] = tuple(n for n in files[dataset] if _of_trials(snapshot, dataset, n, trials, every))
    nodes = {p.node for m in manifests for p in m.nodes}
    first, last = min(m.started_us for m in manifests), max(m.ended_us for m in manifests)
    for dataset in BY_TIME:
        files[dataset] = tuple(n for n in files[dataset] if _within(snapshot, n, nodes, first, last))
    batches = {g: tuple(b for b in bs if not trials.isdisjoint(b.trials)) for g, bs in snapshot.batches.items()}
    for group, datasets in GROUPS.items():
        for dataset in datasets:
            files[dataset] = tuple(sorted(b.file(dataset) for b in batches[group]))
    files |= dict.fromkeys(WHOLE, ())
    changed = {d for d in DATASETS if files[d] != snapshot.files[d]}
    mask = pc.is_in(snapshot.table["trial"], pa.array(sorted(trials)))
    return replace(
        snapshot,
        table=snapshot.table.filter(mask),
        files=files,
        whole=snapshot.whole - changed,
        batches=batches,
    )


def _of_trials(snapshot: Snapshot, dataset: str, name: str, trials: set[str], every: set[str]) -> bool:
    """Return whether a file may hold records of the trials: by its name, or by the names that it took in."""
    start = len(dataset_folder(dataset)) + 1
    stems = [n[start:].removesuffix(".parquet") for n in (name, *snapshot.footers[name].replaces)]
    known = [s for s in stems if s in every]
    return not known or not trials.isdisjoint(known)


def _within(snapshot: Snapshot, name: str, nodes: set[str], first_us: int, last_us: int) -> bool:
    if name.split("/")[1] not in nodes:
        return False
    footer = snapshot.footers[name]
    if footer.first_us is None or footer.last_us is None:
        return True
    return footer.first_us <= last_us and footer.last_us >= first_us
